// When the museum is open, in words.
document.addEventListener("DOMContentLoaded", function () {
  var days = ["Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
  var words = days.map(function (day) {
    return day + " " + (day === "Thursday" ? "10 to 20" : "10 to 17");
  });
  document.getElementById("visits").textContent = words.join(", ") + ". Closed on Monday.";
});
