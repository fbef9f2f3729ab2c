// High water of the next days, from the two largest parts of the tide.
var tides = [];

(function () {
  var best = [];
  for (var minute = 0; minute < 4 * 24 * 60; minute += 1) {
    best.push([minute, height(minute)]);
  }
  for (var i = 1; i < best.length - 1; i += 1) {
    if (best[i][1] > best[i - 1][1] && best[i][1] >= best[i + 1][1]) {
      tides.push(best[i]);
    }
  }

  function height(minute) {
    return 1.8 * Math.cos((2 * Math.PI * minute) / 745.2) + 0.4 * Math.cos((2 * Math.PI * minute) / 720);
  }
})();

document.addEventListener("DOMContentLoaded", function () {
  tides.slice(0, 6).forEach(function (tide) {
    var item = document.createElement("li");
    var hours = Math.floor(tide[0] / 60) % 24;
    var minutes = String(tide[0] % 60).padStart(2, "0");
    item.textContent = "day " + (1 + Math.floor(tide[0] / 1440)) + ", " + hours + ":" + minutes + ", " + tide[1].toFixed(2) + " m";
    document.getElementById("tides").append(item);
  });
});
