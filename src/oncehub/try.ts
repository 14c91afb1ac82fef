/** Does the key work? For the doctor: one request, outside the pace that a running Usher keeps. */
import type { OnceHubConfig } from '../config.ts';

export async function tryOnceHub({
  baseUrl,
  apiKeys,
}: OnceHubConfig): Promise<{ works: true; found: string } | { works: false; found: string; fix: string }> {
  const refused: string[] = [];
  for (const [index, key] of apiKeys.entries()) {
    const which = apiKeys.length > 1 ? ` (key ${index + 1} of ${apiKeys.length})` : '';
    try {
      const response = await fetch(`${baseUrl}/test`, {
        headers: { 'API-Key': key, Accept: 'application/json' },
        redirect: 'manual',
        signal: AbortSignal.timeout(10_000),
      });
      const body = (await response.json().catch(() => null)) as { type?: string; message?: string } | null;
      if (response.ok && body)
        return { works: true, found: `${baseUrl} takes the key${which}: ${body.message ?? 'it is valid'}` };
      if (response.status === 403 && body?.type === 'authentication_error')
        return {
          works: false,
          found: `${baseUrl}: the plan of the account has no API`,
          fix: 'An account administrator upgrades the plan.',
        };
      if (response.status === 429)
        return {
          works: true,
          found: `${baseUrl} answers that it is asked too often; a key is tried when that is over`,
        };
      refused.push(`${baseUrl} answered ${response.status}${which}`);
    } catch (error) {
      const { code, message } = ((error as Error).cause ?? error) as { code?: string; message: string };
      return {
        works: false,
        found: `${baseUrl} does not answer: ${code ?? message}`,
        fix: 'Check USHER_ONCEHUB_BASE_URL, and that this machine may reach it (name, firewall, proxy).',
      };
    }
  }
  return {
    works: false,
    found: refused.join('; '),
    fix: 'Check USHER_ONCEHUB_API_KEY (an Administrator makes one in OnceHub under Settings, API & Webhooks) and USHER_ONCEHUB_BASE_URL.',
  };
}
