/** The value of `Date` (RFC 9110 §6.6.1), made at most once a second. */
let madeFor = -1;
let text = '';

export function httpDate(now: number = Date.now()): string {
  const second = Math.floor(now / 1_000);
  if (second !== madeFor) {
    madeFor = second;
    text = new Date(second * 1_000).toUTCString();
  }
  return text;
}
