/** How the app registration proves itself, against a token endpoint that refuses as the identity platform does. */
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { GraphCredential } from '../../src/config.ts';
import { openGraphClient } from '../../src/graph/client.ts';
import { contoso, contosoTenant } from '../../src/sandbox/contoso.ts';
import { connectionTo, type Sandbox, startSandbox } from '../../src/sandbox/tenant.ts';

let sandbox: Sandbox;
let folder: string;
beforeEach(async () => {
  sandbox = await startSandbox(contosoTenant());
  folder = await mkdtemp(path.join(tmpdir(), 'usher-test-'));
});
afterEach(async () => {
  await sandbox.close();
  await rm(folder, { recursive: true, force: true });
});

const ask = (credential: GraphCredential) =>
  openGraphClient({ ...connectionTo(sandbox), credential }).get(`/users/${contoso.dedicatedMailbox}?$select=id`);

/** A key, and something of a certificate's form whose thumbprint the tenant knows. */
async function aCertificate(): Promise<string> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const der = randomBytes(300);
  sandbox.tenant.certificate = { publicKey, sha256: createHash('sha256').update(der).digest('base64url') };
  const file = path.join(folder, 'app.pem');
  await writeFile(
    file,
    `${privateKey}-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`,
  );
  return file;
}

describe('a token', () => {
  test('by certificate', async () => {
    const file = await aCertificate();
    expect((await ask({ kind: 'certificate', path: file })).status).toBe(200);
  });

  test('by a certificate that the app registration does not know is refused, and says so', async () => {
    const file = await aCertificate();
    await aCertificate();
    sandbox.tenant.certificate = sandbox.tenant.certificate && { ...sandbox.tenant.certificate, sha256: 'another' };
    await expect(ask({ kind: 'certificate', path: file })).rejects.toMatchObject({
      code: 'connection_down',
      message: expect.stringContaining('invalid_client'),
    });
  });

  test('by a file that holds no certificate names the file', async () => {
    const file = path.join(folder, 'empty.pem');
    await writeFile(file, 'nothing');
    await expect(ask({ kind: 'certificate', path: file })).rejects.toMatchObject({
      code: 'connection_down',
      message: expect.stringContaining('empty.pem'),
    });
  });

  test('by federated identity, the file read anew for each', async () => {
    const file = path.join(folder, 'token');
    await writeFile(file, 'first\n');
    sandbox.tenant.federatedAssertion = 'first';
    expect((await ask({ kind: 'federated', tokenFile: file })).status).toBe(200);
    sandbox.tenant.federatedAssertion = 'second';
    await writeFile(file, 'second\n');
    expect((await ask({ kind: 'federated', tokenFile: file })).status).toBe(200);
  });

  test('by the machine’s managed identity', async () => {
    const before = { ...process.env };
    process.env.IDENTITY_ENDPOINT = `${sandbox.url}/managed-identity`;
    process.env.IDENTITY_HEADER = 'sandbox-host';
    try {
      expect((await ask({ kind: 'managed', clientId: null })).status).toBe(200);
    } finally {
      process.env = before;
    }
  });

  test('is sent to Graph and to no other host, whatever a link says', async () => {
    const graph = openGraphClient(connectionTo(sandbox));
    await expect(graph.get('https://graph.example.com/v1.0/users/delta?$skiptoken=x')).rejects.toMatchObject({
      code: 'graph_unavailable',
      message: expect.stringContaining('graph.example.com'),
    });
  });
});
