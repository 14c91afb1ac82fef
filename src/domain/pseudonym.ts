/** What is left of somebody in the history after their data was erased: who did what and when, and nothing that says who they were. */

/** Keys whose values name somebody, whatever they hold. */
const personalKeys = new Set([
  'name',
  'displayName',
  'givenName',
  'familyName',
  'email',
  'emails',
  'addresses',
  'userName',
  'externalId',
  'entraObjectId',
  'mailboxKeys',
  'mailbox',
  'phone',
  'phoneNumbers',
  'jobTitle',
  'title',
  'chatDisplayName',
  'linkName',
  'bookingPages',
  'pages',
  'disabledPages',
  'who',
  'nickName',
  'photos',
  'ims',
  'message',
]);

/** A word as a whole: ann@contoso.com does not stand in joann@contoso.com. */
function withoutWord(text: string, word: string, pseudonym: string): string {
  const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return text.replace(new RegExp(`(?<![\\w.%+-])${escaped}(?![\\w-])`, 'gi'), pseudonym);
}

/**
 * Every personal value, and every text that holds one of `known`, becomes the pseudonym; numbers, switches and states stay. In a row about somebody
 * else only the texts of `known` do.
 */
export function pseudonymise(value: unknown, known: readonly string[], pseudonym: string, othersRow = false): unknown {
  const words = known.map((word) => word.toLowerCase()).filter((word) => word.length > 2);
  const walk = (part: unknown, isPersonal: boolean): unknown => {
    if (Array.isArray(part)) return part.map((entry) => walk(entry, isPersonal));
    if (typeof part === 'object' && part !== null)
      return Object.fromEntries(
        Object.entries(part).map(([key, entry]) => [
          key,
          walk(entry, isPersonal || (!othersRow && personalKeys.has(key))),
        ]),
      );
    if (typeof part !== 'string') return part;
    if (othersRow) return words.reduce((left, word) => withoutWord(left, word, pseudonym), part);
    const text = part.toLowerCase();
    return isPersonal || words.some((word) => text.includes(word)) ? pseudonym : part;
  };
  return walk(value, false);
}
