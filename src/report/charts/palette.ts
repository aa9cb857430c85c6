// The colours of the page by meaning, light and dark. Specifications name them as '@goodput'; the viewer puts the colour
// of the current theme in, so switching the theme needs no second specification.

/** [light, dark]. Text and lines reach WCAG AA contrast on their background; data colours stay calm beside each other. */
export const PALETTE = {
  paper: ['#ffffff', '#14181d'],
  ink: ['#1b232c', '#e4e9ee'],
  muted: ['#5b6875', '#95a2b0'],
  line: ['#dfe4e9', '#2b333c'],
  grid: ['#edf0f3', '#222930'],
  accent: ['#1f6fb2', '#6fb3ec'],
  goodput: ['#3d84c2', '#5a9fd9'],
  goodputFill: ['#bcd7ee', '#274a68'],
  peak: ['#e9eef3', '#222c36'],
  throughput: ['#8a97a5', '#7d8a98'],
  loss: ['#d1452f', '#f0725c'],
  lossSoft: ['#f0b6ab', '#6e3329'],
  window: ['#268268', '#52bd9f'],
  windowFill: ['#cfe8df', '#1f4a3d'],
  rtt: ['#8659a8', '#b48fd6'],
  rttFill: ['#dccbe9', '#443056'],
  dirty: ['#c98a1b', '#e0ad4d'],
  dirtyText: ['#8a5a00', '#e0ad4d'],
  round: ['#dbe5ee', '#28343f'],
  roundAlt: ['#eef3f7', '#1e272f'],
  zero: ['#c4ccd4', '#4a5560'],
  xbzrle: ['#c98a1b', '#e0ad4d'],
  compressed: ['#8659a8', '#b48fd6'],
  senderApplication: ['#8fa1b3', '#71849a'],
  rateLimit: ['#8659a8', '#b48fd6'],
  receiverWindow: ['#2c8c72', '#52bd9f'],
  congestion: ['#e0a13c', '#e0ad4d'],
  recovery: ['#d1452f', '#f0725c'],
  sendBuffer: ['#9a6b3f', '#c4956a'],
  idle: ['#e6eaee', '#2a323a'],
  run0: ['#1f6fb2', '#6fb3ec'],
  run1: ['#d1722f', '#f09a5c'],
  run2: ['#2c8c72', '#52bd9f'],
  run3: ['#8659a8', '#b48fd6'],
  run4: ['#a3333d', '#e27a83'],
  run5: ['#6b7a2c', '#aebf5e'],
} as const satisfies Record<string, readonly [string, string]>;

export type Colour = keyof typeof PALETTE;

/** A palette colour as specifications write it. */
export const colour = (name: Colour): string => `@${name}`;
