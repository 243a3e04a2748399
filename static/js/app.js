// What every signed-in page loads; each import attaches its own behaviour to data attributes.
import "./htmx.js";
import "./live.js";
import "./list.js";
import "./dialog.js";
import "./bulk.js";
import "./charts.js";
import "./copy.js";
import "./keyboard.js";
import "./menu.js";
import "./stepper.js";
import "./time.js";
import "./toast.js";
