/**
 * Sign-in with Entra ID: OpenID Connect's authorization code flow with PKCE (RFC 7636), through msal-node. The ID token comes straight from
 * the token endpoint over TLS (OpenID Connect Core 3.1.3.7), so who issued it is known; for whom, of which tenant, and for which sign-in is checked here.
 */
import { ConfidentialClientApplication, CryptoProvider } from '@azure/msal-node';
import type { Identity, IdentityPlatform } from '../administration.ts';
import type { OidcConfig } from '../config.ts';
import { UsherError } from '../errors.ts';
import { metadata } from './tokens.ts';

interface Claims {
  aud?: string;
  tid?: string;
  oid?: string;
  nonce?: string;
  exp?: number;
  preferred_username?: string;
  upn?: string;
  name?: string;
  idp?: string;
  acct?: number;
  groups?: string[];
  hasgroups?: boolean | string;
  _claim_names?: { groups?: string };
}

const scopes = ['openid', 'profile'];

export function openIdentityPlatform(config: OidcConfig): IdentityPlatform {
  const crypto = new CryptoProvider();
  /** A new one each time: nothing of a sign-in is to be kept, and a refusal must not throttle the next person. */
  const open = () =>
    new ConfidentialClientApplication({
      auth: {
        clientId: config.clientId,
        clientSecret: config.clientSecret,
        authority: config.ownAuthority
          ? `https://login.microsoftonline.com/${config.tenantId}`
          : `${config.authority}/${config.tenantId}`,
        ...(config.ownAuthority ? { authorityMetadata: metadata(config) } : {}),
      },
    });
  return {
    async begin(redirectUri) {
      const { verifier, challenge } = await crypto.generatePkceCodes();
      const pending = { state: crypto.createNewGuid(), nonce: crypto.createNewGuid(), verifier };
      try {
        const url = await open().getAuthCodeUrl({
          scopes,
          redirectUri,
          responseMode: 'query',
          codeChallenge: challenge,
          codeChallengeMethod: 'S256',
          state: pending.state,
          nonce: pending.nonce,
          prompt: 'select_account',
        });
        return { url, pending };
      } catch (cause) {
        throw failed('The identity platform does not answer.', cause);
      }
    },

    async finish(code, pending, redirectUri) {
      let claims: Claims;
      try {
        const result = await open().acquireTokenByCode({
          code,
          scopes,
          redirectUri,
          codeVerifier: pending.verifier,
          nonce: pending.nonce,
        });
        claims = (result.idTokenClaims ?? {}) as Claims;
      } catch (cause) {
        throw failed('The identity platform did not accept the sign-in.', cause);
      }
      if (claims.aud?.toLowerCase() !== config.clientId.toLowerCase())
        throw failed('The token is for another application.');
      if (claims.tid?.toLowerCase() !== config.tenantId.toLowerCase()) throw failed('The token is of another tenant.');
      if (claims.nonce !== pending.nonce) throw failed('The token is of another sign-in.');
      if (!claims.exp || claims.exp * 1000 < Date.now() - 300_000) throw failed('The token has expired.');
      if (!claims.oid) throw failed('The token names nobody (no oid).');
      return identityFrom(claims.oid, claims);
    },
  };
}

function identityFrom(objectId: string, claims: Claims): Identity {
  const userName = claims.preferred_username ?? claims.upn ?? null;
  return {
    objectId,
    userName,
    name: claims.name ?? userName ?? objectId,
    // `idp` is there for somebody whose home is another tenant, `acct` 1 for a guest; a guest's userName in this tenant says #EXT#.
    isGuest: claims.idp !== undefined || claims.acct === 1 || Boolean(userName?.includes('#EXT#')),
    // Above 200 groups the token names a place to ask instead (learn.microsoft.com/entra/identity-platform/optional-claims).
    groups: claims._claim_names?.groups || claims.hasgroups ? null : (claims.groups ?? []),
  };
}

function failed(message: string, cause?: unknown): UsherError {
  const { errorCode, errorNo } = (cause ?? {}) as { errorCode?: string; errorNo?: string };
  const why = [errorCode, errorNo && `AADSTS${errorNo}`].filter(Boolean).join(' ');
  return new UsherError('sign_in_failed', `${message}${why ? ` (${why})` : ''}`, cause === undefined ? {} : { cause });
}
