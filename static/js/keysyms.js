// X11 keysyms for typed text and for chords, as a US keyboard would produce them.
const NAMED = {
  ctrl: [0xffe3, "ControlLeft"],
  alt: [0xffe9, "AltLeft"],
  shift: [0xffe1, "ShiftLeft"],
  super: [0xffeb, "MetaLeft"],
  del: [0xffff, "Delete"],
  tab: [0xff09, "Tab"],
  esc: [0xff1b, "Escape"],
  enter: [0xff0d, "Enter"],
  backspace: [0xff08, "Backspace"],
  print: [0xff61, "PrintScreen"],
};
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;

/** Keysym and key code of one part of a chord such as "ctrl", "f2" or "b". */
function key(part) {
  if (NAMED[part]) return NAMED[part];
  if (/^f\d+$/.test(part)) return [0xffbd + Number(part.slice(1)), part.toUpperCase()];
  return [part.codePointAt(0), `Key${part.toUpperCase()}`];
}

/** "ctrl+alt+del" as a list of [keysym, code], in the order to press. */
export function chord(text) {
  return text.split("+").map(key);
}

/** One typed character: its keysym and whether Shift has to be held. */
export function typed(character) {
  if (character === "\n") return { keysym: 0xff0d, shift: false };
  if (character === "\t") return { keysym: 0xff09, shift: false };
  const point = character.codePointAt(0);
  return { keysym: point < 0x100 ? point : 0x01000000 + point, shift: SHIFTED.test(character) };
}
