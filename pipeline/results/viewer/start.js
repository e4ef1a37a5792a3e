// The page of `retort look`: the viewer over everything that is served beside it.

servedSource().then(
  (source) => mountViewer(document.getElementById("viewer"), source, { focus: true }),
  (error) => {
    const told = `The rollouts could not be read (${error.message}). Does retort look still run?`;
    document.getElementById("viewer").textContent = told;
  },
);
