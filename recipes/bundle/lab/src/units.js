// Units by quantity: each as [scale, zero], so that value * scale + zero is in the first unit of its quantity.

const length = {
  metre: [1, 0],
  kilometre: [1000, 0],
  centimetre: [0.01, 0],
  millimetre: [0.001, 0],
  mile: [1609.344, 0],
  yard: [0.9144, 0],
  foot: [0.3048, 0],
  inch: [0.0254, 0],
  "nautical mile": [1852, 0],
};

const mass = {
  kilogram: [1, 0],
  gram: [0.001, 0],
  milligram: [1e-06, 0],
  tonne: [1000, 0],
  pound: [0.45359237, 0],
  ounce: [0.028349523125, 0],
  stone: [6.35029318, 0],
};

const temperature = {
  kelvin: [1, 0],
  "degree Celsius": [1, 273.15],
  "degree Fahrenheit": [5 / 9, 459.67 * 5 / 9],
};

const area = {
  "square metre": [1, 0],
  hectare: [10000, 0],
  acre: [4046.8564224, 0],
  "square mile": [2589988.110336, 0],
  "square foot": [0.09290304, 0],
  "square inch": [0.00064516, 0],
  barn: [1e-28, 0],
};

const volume = {
  "cubic metre": [1, 0],
  litre: [0.001, 0],
  millilitre: [1e-06, 0],
  "imperial gallon": [0.00454609, 0],
  "imperial pint": [0.00056826125, 0],
  "gallon (US)": [0.003785411784, 0],
  "pint (US)": [0.000473176473, 0],
  "cubic foot": [0.028316846592, 0],
  "barrel of oil": [0.158987294928, 0],
};

const speed = {
  "metre per second": [1, 0],
  "kilometre per hour": [1 / 3.6, 0],
  "mile per hour": [0.44704, 0],
  knot: [1852 / 3600, 0],
  "foot per second": [0.3048, 0],
};

const pressure = {
  pascal: [1, 0],
  bar: [100000, 0],
  atmosphere: [101325, 0],
  torr: [101325 / 760, 0],
  "pound per square inch": [6894.757293168, 0],
};

const energy = {
  joule: [1, 0],
  calorie: [4.184, 0],
  "kilowatt hour": [3600000, 0],
  electronvolt: [1.602176634e-19, 0],
  "British thermal unit": [1055.05585262, 0],
  "foot-pound": [1.3558179483314, 0],
};

const power = {
  watt: [1, 0],
  "metric horsepower": [735.49875, 0],
  "mechanical horsepower": [745.69987158227, 0],
};

const angle = {
  radian: [1, 0],
  degree: [Math.PI / 180, 0],
  gradian: [Math.PI / 200, 0],
  arcminute: [Math.PI / 10800, 0],
  arcsecond: [Math.PI / 648000, 0],
};

const data = {
  byte: [1, 0],
  kilobyte: [1000, 0],
  kibibyte: [1024, 0],
  megabyte: [1e6, 0],
  mebibyte: [2 ** 20, 0],
  gigabyte: [1e9, 0],
  gibibyte: [2 ** 30, 0],
};

export default { length, mass, temperature, area, volume, speed,
  pressure, energy, power, angle, data };
