/**
 * Access tokens of the app registration, by secret, certificate, federated or managed identity. `@azure/msal-node` keeps them, but has no single flight:
 * ten callers on a cold cache would be ten requests, so they share one promise.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { ConfidentialClientApplication, type Configuration, ManagedIdentityApplication } from '@azure/msal-node';
import type { GraphConfig } from '../config.ts';
import { UsherError } from '../errors.ts';

export interface Tokens {
  /** Throws `connection_down` with what the identity platform said. */
  get(): Promise<string>;
  /** The token was refused: the next one is a new one. */
  forget(): void;
}

/** After a refusal nobody asks again before this: a wrong secret must not be tried thousands of times. */
const refusedForMs = 5000;

export function openTokens(config: GraphConfig): Tokens {
  let application: Promise<Acquire> | undefined;
  let inFlight: Promise<string> | undefined;
  let refused: { at: number; error: unknown } | undefined;
  let fresh = false;
  const acquire = async (): Promise<string> => {
    try {
      application ??= openApplication(config);
      return await (await application)(fresh);
    } catch (cause) {
      // MSAL throttles itself after a refusal, and a renewed file must be read: a new instance next time.
      application = undefined;
      const error = explain(config, cause);
      refused = { at: Date.now(), error };
      throw error;
    }
  };
  return {
    async get() {
      if (refused && Date.now() - refused.at < refusedForMs) throw refused.error;
      inFlight ??= acquire().finally(() => {
        inFlight = undefined;
        fresh = false;
      });
      return inFlight;
    },
    forget() {
      fresh = true;
      application = undefined;
    },
  };
}

type Acquire = (skipCache: boolean) => Promise<string>;

async function openApplication(config: GraphConfig): Promise<Acquire> {
  const { credential } = config;
  if (credential.kind === 'managed') {
    const identity = new ManagedIdentityApplication(
      credential.clientId ? { managedIdentityIdParams: { userAssignedClientId: credential.clientId } } : {},
    );
    const resource = config.scope.replace(/\/\.default$/, '');
    return async (skipCache) => (await identity.acquireToken({ resource, forceRefresh: skipCache })).accessToken;
  }
  const client = new ConfidentialClientApplication({
    auth: {
      clientId: config.clientId,
      authority: config.ownAuthority
        ? `https://login.microsoftonline.com/${config.tenantId}`
        : `${config.authority}/${config.tenantId}`,
      ...(config.ownAuthority ? { authorityMetadata: metadata(config) } : {}),
      ...(await proofOf(credential)),
    },
  });
  return async (skipCache) => {
    const result = await client.acquireTokenByClientCredential({ scopes: [config.scope], skipCache });
    if (!result?.accessToken) throw new Error('no token in the answer');
    return result.accessToken;
  };
}

async function proofOf(
  credential: Exclude<GraphConfig['credential'], { kind: 'managed' }>,
): Promise<Partial<Configuration['auth']>> {
  if (credential.kind === 'secret') return { clientSecret: credential.secret };
  if (credential.kind === 'federated')
    // Read for each request: who issues these tokens replaces the file before they end.
    return { clientAssertion: async () => (await readFile(credential.tokenFile, 'utf8')).trim() };
  const pem = await readFile(credential.path, 'utf8');
  const key =
    /-----BEGIN (?:RSA |EC |ENCRYPTED )?PRIVATE KEY-----[\s\S]+?-----END (?:RSA |EC |ENCRYPTED )?PRIVATE KEY-----/.exec(
      pem,
    )?.[0];
  const chain = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g);
  if (!key || !chain?.[0])
    throw new Error(`${credential.path} must hold a private key and its certificate, both as PEM`);
  const der = Buffer.from(chain[0].replace(/-----[^-]+-----|\s/g, ''), 'base64');
  return {
    clientCertificate: {
      thumbprintSha256: createHash('sha256').update(der).digest('hex').toUpperCase(),
      privateKey: key,
      x5c: chain.join('\n'),
    },
  };
}

function explain(config: GraphConfig, cause: unknown): UsherError {
  const { errorCode, errorNo, code, message } = cause as {
    errorCode?: string;
    errorNo?: string;
    code?: string;
    message?: string;
  };
  const why = [errorCode, errorNo && `AADSTS${errorNo}`].filter(Boolean).join(' ') || code || message;
  const check = {
    secret: 'tenant, client id and secret',
    certificate: 'tenant, client id and the certificate file',
    federated: 'tenant, client id and the federated token file',
    managed: 'that this machine has the managed identity',
  }[config.credential.kind];
  return new UsherError(
    'connection_down',
    `No token from ${config.authority}${why ? `: ${why}` : ''}. Check ${check}.`,
    {
      cause,
    },
  );
}

/** MSAL insists on https for an authority; what it would have read there may name any endpoint. */
export function metadata(config: Pick<GraphConfig, 'authority' | 'tenantId'>): string {
  const base = `${config.authority}/${config.tenantId}`;
  return JSON.stringify({
    issuer: `${base}/v2.0`,
    authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
    token_endpoint: `${base}/oauth2/v2.0/token`,
    jwks_uri: `${base}/discovery/v2.0/keys`,
  });
}
