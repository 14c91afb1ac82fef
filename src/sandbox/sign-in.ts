/**
 * The sign-in page of the make-believe tenant: OpenID Connect's authorization code flow with PKCE (RFC 7636), as the Microsoft identity platform
 * answers it. Nobody types anything: who stands before the browser is said by `tenant.atTheKeyboard`.
 */
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import type { Answer } from './graph-api.ts';
import type { Tenant } from './tenant.ts';

interface Code {
  objectId: string;
  redirectUri: string;
  challenge: string | null;
  nonce: string | null;
  clientId: string;
  until: number;
}

/** Above this many, a token names a place to ask for the groups instead. */
const mostGroupsInToken = 200;

export function openSignInDoor(tenant: Tenant) {
  const codes = new Map<string, Code>();
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

  return {
    authorize(url: URL): Answer {
      const query = url.searchParams;
      const redirectUri = query.get('redirect_uri') ?? '';
      if (query.get('client_id') !== tenant.clientId || !tenant.redirectUris.includes(redirectUri))
        return {
          status: 400,
          body: { error: 'invalid_request', error_description: 'AADSTS50011: The redirect URI does not match.' },
        };
      const back = new URL(redirectUri);
      if (query.get('state')) back.searchParams.set('state', query.get('state') ?? '');
      const person = tenant.users.find((user) => user.objectId === tenant.atTheKeyboard);
      if (!person?.accountEnabled) {
        back.searchParams.set('error', 'access_denied');
        return { status: 302, headers: { location: back.toString() } };
      }
      const code = randomUUID();
      codes.set(code, {
        objectId: person.objectId,
        redirectUri,
        challenge: query.get('code_challenge_method') === 'S256' ? query.get('code_challenge') : null,
        nonce: query.get('nonce'),
        clientId: tenant.clientId,
        until: Date.now() + 60_000,
      });
      back.searchParams.set('code', code);
      return { status: 302, headers: { location: back.toString() } };
    },

    /** What the code is worth, once; null: it is no such code, or the verifier is another's. */
    redeem(form: URLSearchParams, url: string): Record<string, unknown> | null {
      const code = codes.get(form.get('code') ?? '');
      codes.delete(form.get('code') ?? '');
      const person = code && tenant.users.find((user) => user.objectId === code.objectId);
      if (!code || !person || code.until < Date.now() || form.get('redirect_uri') !== code.redirectUri) return null;
      if (code.challenge) {
        const challenge = createHash('sha256')
          .update(form.get('code_verifier') ?? '')
          .digest('base64url');
        if (challenge !== code.challenge) return null;
      }
      const groups = tenant.groups
        .filter((group) => group.members.includes(person.objectId))
        .map((group) => group.objectId);
      const seconds = Math.floor(Date.now() / 1000);
      const claims = {
        aud: code.clientId,
        iss: `${url}/${tenant.tenantId}/v2.0`,
        iat: seconds,
        nbf: seconds,
        exp: seconds + 3600,
        tid: tenant.tenantId,
        oid: person.objectId,
        sub: createHash('sha256').update(`${code.clientId}/${person.objectId}`).digest('base64url'),
        name: person.displayName,
        preferred_username:
          person.userType === 'Guest' ? (person.mail ?? person.userPrincipalName) : person.userPrincipalName,
        ver: '2.0',
        ...(code.nonce ? { nonce: code.nonce } : {}),
        ...(person.userType === 'Guest' ? { idp: 'https://sts.windows.net/another-tenant/' } : {}),
        ...(groups.length > mostGroupsInToken
          ? { _claim_names: { groups: 'src1' }, _claim_sources: { src1: { endpoint: 'https://graph.windows.net/' } } }
          : { groups }),
      };
      const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      const unsigned = `${part({ typ: 'JWT', alg: 'RS256', kid: 'sandbox' })}.${part(claims)}`;
      const signature = sign('sha256', Buffer.from(unsigned), privateKey).toString('base64url');
      return {
        id_token: `${unsigned}.${signature}`,
        client_info: part({ uid: person.objectId, utid: tenant.tenantId }),
        scope: 'openid profile',
      };
    },
  };
}
