// Write numbers and durations as text, by the rules of autoresearch_mlx/terms.py; an unknown number is "-".
// A test compares this file with terms.py.  The results differ only on exact ties (1/128 in six decimals): JavaScript
// rounds a tie up, and Python rounds it to the even digit.

// Limits below which six decimals show too few significant digits: fewer than three of a metric (first limit), or fewer
// than two of a difference (second limit).
const HIDDEN_VALUE = 1e-4, HIDDEN_AMOUNT = 1e-5;
// Whole numbers below this limit are counts (lines, bytes, failed tests), which have no decimals.
const LARGEST_COUNT = 1e10;

export const known = (number) => number !== null && number !== undefined;

/** A metric: six decimals, or six significant digits from 10 on and below 0.0001; a whole number has no decimals. */
export const value = (number) => (known(number) ? decimals(number, HIDDEN_VALUE, 6) : "-");

/** A difference of metrics or a standard deviation: like a metric, but three significant digits below 0.00001. */
export const amount = (number) => (known(number) ? decimals(number, HIDDEN_AMOUNT, 3) : "-");

/** A difference of metrics, always with its sign; positive is better. */
export const gain = (number) => (known(number) ? (number < 0 ? "" : "+") + amount(number) : "-");

export const interval = (low, high) => (known(low) && known(high) ? `90 %: ${gain(low)} to ${gain(high)}` : "");

export const count = (number) => (known(number) ? Math.round(number).toLocaleString("en-US") : "-");

/** A speed, given as a share of the usual one: 62 %. */
export const speed = (share) => (known(share) ? `${(100 * share).toFixed(0)} %` : "-");

function decimals(number, hidden, digits) {
  const size = Math.abs(number);
  if (size < LARGEST_COUNT && Number.isInteger(size)) return String(number + 0); // never "-0"
  if (size < hidden) return significant(number, digits);
  return size < 10 ? number.toFixed(6) : significant(number, 6);
}

/** A number with `digits` significant digits, without trailing zeros, as Python's format "g" writes them: 3e-07, 1.5, 1.23457e+06. */
export function significant(number, digits) {
  const [mantissa, power] = number.toExponential(digits - 1).split("e");
  if (power >= -4 && power < digits) return String(Number(number.toPrecision(digits)));
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  return `${short}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** h:mm:ss, or m:ss below one hour. */
export function clock(seconds) {
  if (!known(seconds)) return "-";
  const all = Math.floor(Math.max(seconds, 0) + 0.5);
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (part) => String(part).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A browser may break a line between "-" and ">". */
export const arrows = (text) => (text || "").replaceAll(" -> ", " → ");
