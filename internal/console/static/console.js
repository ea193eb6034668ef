// Two refinements of how htmx loads parts of pages again. Pages work without them.
"use strict";

// A page in the background does not load itself again.
document.addEventListener("htmx:beforeRequest", (event) => {
  const refresh = event.detail.requestConfig.headers["X-Bridge-Refresh"];
  if (refresh && document.hidden) event.preventDefault();
});

// A status that says the same as before is not put there again: a screen reader would read it out each time.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target, fragment } = event.detail;
  if (target.textContent.trim() === fragment.textContent.trim()) event.detail.shouldSwap = false;
});
