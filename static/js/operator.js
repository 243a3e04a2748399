// What the operators' pages load; each import attaches its own behaviour to data attributes.
import "./copy.js";
import "./keyboard.js";
import "./menu.js";
import "./time.js";
import "./toast.js";
