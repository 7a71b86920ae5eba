// The page behind a link: the token stands behind the # and goes to the agent in a form, once.
"use strict";
(() => {
  const show = (state) => {
    for (const part of document.querySelectorAll("[data-when]")) part.hidden = part.dataset.when !== state;
  };
  const token = location.hash.slice(1);
  // Not in the history, whatever becomes of it.
  history.replaceState(null, "", location.pathname);
  if (!token) {
    show("failed");
    return;
  }
  fetch(location.pathname, { method: "POST", body: new URLSearchParams({ token }) })
    .then((answer) => {
      if (answer.ok) location.replace(document.body.dataset.base + "/");
      else show("failed");
    })
    .catch(() => show("failed"));
})();
