// The page of `retort look`: the viewer over everything that is served beside it.

servedSource().then(
  (source) =>
    mountViewer(document.getElementById("viewer"), source, {
      focus: true,
      // Whoever loads the page again, to see what has come since, goes on where they were.
      first: location.hash.slice(1),
      chosen: (id) => history.replaceState(null, "", `#${id}`),
    }),
  (error) => {
    const told = `The rollouts could not be read (${error.message}). Does retort look still run?`;
    document.getElementById("viewer").textContent = told;
  },
);
