// How numbers and durations look; unknown is a dash, never a number.

export const value = (x) => x == null ? "–" : Math.abs(x) < 1000 ? x.toFixed(6) : Number(x.toPrecision(6)).toString();
export const gain = (x) => x == null ? "–" : (x > 0 ? "+" : x < 0 ? "−" : "") + value(Math.abs(x));
export const count = (x) => x == null ? "–" : Math.round(x).toLocaleString("en");
export const memory = (bytes) => bytes == null ? null : bytes >= 1e8 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(0)} MB`;

export function clock(seconds) {
  if (seconds == null) return "–";
  const all = Math.max(Math.round(seconds), 0), h = Math.floor(all / 3600), m = Math.floor(all / 60) % 60, s = all % 60;
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

// The time of day, with the day where it is another one.
export function when(epoch) {
  const at = new Date(epoch * 1000), time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString([], { weekday: "short" })} ${time}`;
}
