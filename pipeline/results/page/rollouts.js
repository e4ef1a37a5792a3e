// Shows the rollouts that the page holds once their section comes near, after the viewer's script.

const viewer = document.getElementById("viewer");

new IntersectionObserver(async (entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  try {
    mountViewer(viewer, await embeddedSource(document.getElementById("rollouts-data")));
  } catch (error) {
    viewer.textContent = `The rollouts could not be read: ${error.message}`;
  }
}, { rootMargin: "600px" }).observe(viewer);
