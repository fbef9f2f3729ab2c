// Shows the picture of the harbour.
window.addEventListener("DOMContentLoaded", function () {
  document.getElementById("harbour").src = "harbour.svg";
});
