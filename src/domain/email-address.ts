/** One folding for every comparison of addresses: Exchange and every identity provider ignore letter case. */
export function foldAddress(address: string): string {
  return address.trim().normalize('NFC').toLowerCase();
}

/** Deliberately loose (RFC 5321 leaves the local part to its host): one @, something on both sides, no spaces or control characters. */
export function looksLikeAddress(text: string): boolean {
  return text.length <= 320 && /^[^\s@<>"]+@[^\s@<>"]+$/.test(text);
}

export function domainOf(address: string): string {
  return foldAddress(address).split('@')[1] ?? '';
}

export function localPartOf(address: string): string {
  return address.split('@')[0] ?? address;
}
