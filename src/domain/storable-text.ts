/** PostgreSQL takes neither U+0000 nor half a surrogate; one such text would lose its neighbours, too. */
export function storable(text: string): string {
  return text
    .replaceAll('\0', '\ufffd')
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}
