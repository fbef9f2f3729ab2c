// Dates in words, in nine languages.

const MONTHS = {
  en: "January February March April May June July August September October November December".split(" "),
  de: "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split(" "),
  fr: "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(" "),
  es: "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split(" "),
  it: "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre".split(" "),
  nl: "januari februari maart april mei juni juli augustus september oktober november december".split(" "),
  pl: "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia".split(" "),
  cs: "ledna února března dubna května června července srpna září října listopadu prosince".split(" "),
  tr: "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık".split(" "),
};

const ORDER = { en: (day, month, year) => `${month} ${day}, ${year}`, de: (day, month, year) => `${day}. ${month} ${year}` };

function long(date, language) {
  const month = MONTHS[language][date.getMonth()];
  const order = ORDER[language] ?? ((day, name, year) => `${day} ${name} ${year}`);
  return order(date.getDate(), month, date.getFullYear());
}

function weekOfYear(date) {
  const day = new Date(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()));
  day.setUTCDate(day.getUTCDate() + 4 - (day.getUTCDay() || 7));
  return Math.ceil(((day - Date.UTC(day.getUTCFullYear(), 0, 1)) / 864e5 + 1) / 7);
}

function easter(year) {
  const [century, golden] = [Math.floor(year / 100), year % 19];
  const moon = (19 * golden + century - Math.floor(century / 4) - Math.floor((8 * century + 13) / 25) + 15) % 30;
  const full = moon - Math.floor(moon / 28) * (1 - Math.floor(29 / (moon + 1)) * Math.floor((21 - golden) / 11));
  const sunday = full - (year + Math.floor(year / 4) + full + 2 - century + Math.floor(century / 4)) % 7;
  return new Date(year, 2, 28 + sunday);
}

export default { long, weekOfYear, easter };
