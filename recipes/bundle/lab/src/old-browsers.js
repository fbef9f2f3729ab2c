// What browsers before 2018 lacked.

if (!String.prototype.padStart) {
  String.prototype.padStart = function (length, filler = " ") {
    const missing = Math.max(0, length - this.length);
    return filler.repeat(Math.ceil(missing / filler.length)).slice(0, missing) + this;
  };
}

if (!Array.prototype.flat) {
  Array.prototype.flat = function (depth = 1) {
    const result = [];
    for (const each of this) {
      if (Array.isArray(each) && depth > 0) result.push(...each.flat(depth - 1));
      else result.push(each);
    }
    return result;
  };
}

if (!Object.fromEntries) {
  Object.fromEntries = function (entries) {
    const result = {};
    for (const [name, value] of entries) result[name] = value;
    return result;
  };
}

if (!Element.prototype.replaceChildren) {
  Element.prototype.replaceChildren = function (...children) {
    while (this.lastChild) this.removeChild(this.lastChild);
    for (const child of children) this.append(child);
  };
}

if (!window.queueMicrotask) {
  window.queueMicrotask = (work) => Promise.resolve().then(work);
}
