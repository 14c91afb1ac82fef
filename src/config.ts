/**
 * Every setting, read once, validated all together, frozen and passed down. Nothing else reads the environment.
 * A test keeps `settingsTable` and the documentation equal to the code.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isNode, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { looksLikeAddress } from './domain/email-address.ts';
import { type Policy, policySchema } from './domain/policy.ts';
import { faultOfCron } from './schedule.ts';

const url = (protocols: string[]) =>
  z.string().refine(
    (text) => {
      try {
        return protocols.includes(new URL(text).protocol);
      } catch {
        return false;
      }
    },
    `must be a URL beginning with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  );

/** Plain http would carry tokens in the clear; it is allowed to this machine itself only. */
const httpsOrLoopback = url(['https:', 'http:']).refine((text) => {
  // Said already, by the refinement before.
  if (!URL.canParse(text)) return true;
  const { protocol, hostname } = new URL(text);
  if (protocol !== 'https:' && protocol !== 'http:') return true;
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}, 'must be https; plain http is allowed on loopback only');

const secret = z.string().min(1);
const port = z.coerce.number().int().min(0).max(65535);

const settingsSchema = z.object({
  USHER_PORT: port.default(8080),
  USHER_HOST: z.string().min(1).default('127.0.0.1'),
  USHER_PUBLIC_URL: url(['https:', 'http:']).optional(),
  USHER_DATA_DIR: z.string().min(1).default('./.usher'),
  USHER_DATABASE_URL: url(['postgres:', 'postgresql:']).optional(),
  USHER_QUEUE_URL: url(['redis:', 'rediss:']).optional(),
  USHER_QUEUE_CHECK: z.enum(['strict', 'asserted']).default('strict'),
  USHER_POLICY: z.string().min(1).default('config/policy.yaml'),
  USHER_SCIM_TOKEN: secret.optional(),
  USHER_ADMIN_TOKEN: secret.optional(),
  USHER_GRAPH_TENANT_ID: z.string().min(1).optional(),
  USHER_GRAPH_CLIENT_ID: z.string().min(1).optional(),
  USHER_GRAPH_CLIENT_SECRET: secret.optional(),
  USHER_GRAPH_CERTIFICATE_PATH: z.string().min(1).optional(),
  USHER_GRAPH_FEDERATED_TOKEN_FILE: z.string().min(1).optional(),
  USHER_GRAPH_MANAGED_IDENTITY: z.string().min(1).optional(),
  USHER_GRAPH_CLOUD: z.enum(['global', 'usgov', 'usgov-dod', 'china']).default('global'),
  USHER_GRAPH_BASE_URL: httpsOrLoopback.optional(),
  USHER_GRAPH_AUTHORITY: httpsOrLoopback.optional(),
  USHER_GRAPH_POLL_SECONDS: z.coerce.number().int().min(1).max(86_400).default(300),
  USHER_GRAPH_NOTIFICATIONS: z.enum(['on', 'off']).default('off'),
  USHER_ONCEHUB_API_KEY: secret
    .regex(/^[\x20-\x7e\r\n\t]+$/, 'has characters that no key has; copy it again')
    .optional(),
  USHER_ONCEHUB_BASE_URL: httpsOrLoopback.default('https://api.oncehub.com/v2'),
  USHER_OIDC_TENANT_ID: z.string().min(1).optional(),
  USHER_OIDC_CLIENT_ID: z.string().min(1).optional(),
  USHER_OIDC_CLIENT_SECRET: secret.optional(),
  USHER_SESSION_SECRET: z.string().min(16, 'must be at least 16 characters').optional(),
  USHER_SMTP_URL: url(['smtp:', 'smtps:']).optional(),
  USHER_MAIL_FROM: z
    .string()
    .min(3)
    .refine((text) => looksLikeAddress(addressIn(text)), 'must be an e-mail address, or Name <address>')
    .optional(),
  USHER_WEBHOOK_SECRET: z.string().min(16, 'must be at least 16 characters').optional(),
  USHER_SCIM_MAX_BODY_BYTES: z.coerce.number().int().min(1024).max(16_777_216).default(1_048_576),
  USHER_SCIM_MAX_PAGE_SIZE: z.coerce.number().int().min(1).max(1000).default(200),
  USHER_SCIM_MAX_BULK_OPERATIONS: z.coerce.number().int().min(1).max(10_000).default(1000),
  USHER_SCIM_MAX_MEMBERS: z.coerce.number().int().min(1).max(100_000).default(20_000),
  USHER_SCIM_MAX_PATCH_OPERATIONS: z.coerce.number().int().min(1).max(5000).default(500),
  USHER_SCIM_MAX_FILTER_LENGTH: z.coerce.number().int().min(64).max(32_768).default(8192),
  USHER_SCIM_MAX_FILTER_DEPTH: z.coerce.number().int().min(1).max(100).default(30),
  USHER_SCIM_MAX_FILTER_TERMS: z.coerce.number().int().min(1).max(1000).default(250),
  USHER_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

export const settingNames = Object.keys(settingsSchema.shape) as (keyof z.output<typeof settingsSchema>)[];

export interface GraphConfig {
  tenantId: string;
  /** Empty for the machine's own (system-assigned) managed identity. */
  clientId: string;
  credential: GraphCredential;
  /** Without version: `https://graph.microsoft.com`. */
  baseUrl: string;
  /** The login host: `https://login.microsoftonline.com`. */
  authority: string;
  /** Whose token is asked for, `<Graph host of the cloud>/.default`; an endpoint of one's own does not change it. */
  scope: string;
  /** True when USHER_GRAPH_AUTHORITY names another login host than the cloud's. */
  ownAuthority: boolean;
  /** The pause between two rounds of the poller. */
  pollSeconds: number;
  /** Where change notifications are to be sent, ending in /graph/notifications; null: none are asked for. */
  notificationUrl: string | null;
}

/** How the app registration proves itself; a file is read when it is needed, so that a renewed one is taken without a restart. */
export type GraphCredential =
  | { kind: 'secret'; secret: string }
  | { kind: 'certificate'; path: string }
  | { kind: 'federated'; tokenFile: string }
  | { kind: 'managed'; clientId: string | null };

export interface OnceHubConfig {
  /** With the version: `https://api.oncehub.com/v2`. */
  baseUrl: string;
  /** The second one is tried where the first is refused: so a key is changed without a pause. */
  apiKeys: string[];
  /** So many times faster than the vendor's clock: for trial runs against a sandbox of the same speed. */
  clockSpeed: number;
}

/** Sign-in with Entra ID; the login host is that of the cloud, or USHER_GRAPH_AUTHORITY. */
export interface OidcConfig {
  tenantId: string;
  clientId: string;
  clientSecret: string;
  authority: string;
  ownAuthority: boolean;
}

export interface MailConfig {
  smtpUrl: string;
  /** `Usher <usher@contoso.com>` */
  from: string;
}

export interface Config {
  host: string;
  port: number;
  publicUrl: string | null;
  dataDir: string;
  databaseUrl: string | null;
  queueUrl: string | null;
  queueCheck: 'strict' | 'asserted';
  scimToken: string | null;
  adminToken: string | null;
  graph: GraphConfig | null;
  oncehub: OnceHubConfig | null;
  oidc: OidcConfig | null;
  mail: MailConfig | null;
  /** What posts of alerts are signed with. */
  webhookSecret: string | null;
  /** Null: one is made at the first start and kept in the database. */
  sessionSecret: string | null;
  logLevel: string;
  scimLimits: Record<
    | 'bodyBytes'
    | 'pageSize'
    | 'bulkOperations'
    | 'membersPerRequest'
    | 'patchOperations'
    | 'filterLength'
    | 'filterDepth'
    | 'filterTerms',
    number
  >;
  policy: Policy;
  /** As somebody wrote it, comments included. */
  policyText?: string;
}

/** Every fault at once; `message` is ready to print. */
export class ConfigError extends Error {
  readonly faults: string[];
  constructor(faults: string[]) {
    super(
      `${faults.length === 1 ? '1 setting needs' : `${faults.length} settings need`} attention:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
    );
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

/** National clouds: learn.microsoft.com/graph/deployments. */
const clouds = {
  global: { baseUrl: 'https://graph.microsoft.com', authority: 'https://login.microsoftonline.com' },
  usgov: { baseUrl: 'https://graph.microsoft.us', authority: 'https://login.microsoftonline.us' },
  'usgov-dod': { baseUrl: 'https://dod-graph.microsoft.us', authority: 'https://login.microsoftonline.us' },
  china: { baseUrl: 'https://microsoftgraph.chinacloudapi.cn', authority: 'https://login.partner.microsoftonline.cn' },
} as const;

export async function readConfig(env: NodeJS.ProcessEnv): Promise<Config> {
  const faults: string[] = [];
  let settings: Settings | null = null;
  let policy: Policy | null = null;
  let policyText = '';
  const file = env.USHER_POLICY || 'config/policy.yaml';
  const collect = async (read: () => Promise<void> | void): Promise<void> => {
    try {
      await read();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      faults.push(...error.faults);
    }
  };
  await collect(() => {
    settings = readSettings(env);
  });
  await collect(async () => {
    policyText = await readPolicyFile(file, Boolean(env.USHER_POLICY));
    policy = parsePolicy(policyText, file);
  });
  if (settings && policy) faults.push(...contradictions(settings, policy));
  if (faults.length > 0 || !settings || !policy) throw new ConfigError(faults);
  return Object.freeze({ ...(settings as Settings), policy, policyText });
}

/** Settings and policy that are right by themselves and wrong together. */
function contradictions(settings: Settings, policy: Policy): string[] {
  const faults: string[] = [];
  if (settings.scimToken && !policy.sources.some((source) => source.kind === 'scim'))
    faults.push('USHER_SCIM_TOKEN: the policy has no source of kind scim that the token could be for.');
  if (policy.alerts.webhook && !settings.webhookSecret)
    faults.push(
      'USHER_WEBHOOK_SECRET: needed, because the policy names alerts.webhook: its posts are signed. Make one with «openssl rand -base64 32», and give the receiver the same.',
    );
  if (policy.account.kind === 'oncehub' && !settings.oncehub)
    faults.push(
      'USHER_ONCEHUB_API_KEY: needed, because the policy says account.kind: oncehub. An Account Owner or Administrator makes a key in OnceHub under Settings, API & Webhooks.',
    );
  return faults;
}

/** What a policy may say and this version does not act on; an operator is told, and not left to find out. */
export function notActedOn(policy: Policy, env: NodeJS.ProcessEnv): string[] {
  return [
    policy.alerts.mail.length > 0 && !env.USHER_SMTP_URL
      ? 'alerts.mail: nothing is mailed without USHER_SMTP_URL and USHER_MAIL_FROM'
      : null,
    Object.keys(policy.access).length > 0 && !env.USHER_OIDC_CLIENT_ID
      ? 'access: groups count for a sign-in with Entra ID; set USHER_OIDC_TENANT_ID, USHER_OIDC_CLIENT_ID and USHER_OIDC_CLIENT_SECRET'
      : null,
  ].filter((line) => line !== null);
}

export type Settings = Omit<Config, 'policy'>;

/** The settings without the policy. Throws a ConfigError with every fault. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const faults: string[] = [];
  // An empty setting is an absent one, as in a .env file with nothing behind the sign.
  const given = Object.fromEntries(
    Object.entries(env).filter(([name, value]) => name.startsWith('USHER_') && value !== ''),
  );
  for (const name of Object.keys(given)) {
    if (settingNames.includes(name as never)) continue;
    // A name that resembles none of ours is somebody else's; one that nearly is ours is a slip that would go unseen.
    const meant = nearest(name);
    if (meant) faults.push(`${name}: no setting has this name; did you mean ${meant}?`);
  }
  const parsed = settingsSchema.safeParse(given);
  if (!parsed.success)
    for (const issue of parsed.error.issues) faults.push(`${issue.path.join('.')}: ${issue.message}.`);
  const graph = parsed.success ? graphConfig(parsed.data, faults) : null;
  const oidc = parsed.success ? oidcConfig(parsed.data, faults) : null;
  const mail = parsed.success ? mailConfig(parsed.data, faults) : null;
  if (faults.length > 0 || !parsed.success) throw new ConfigError(faults);

  const settings = parsed.data;
  return {
    host: settings.USHER_HOST,
    port: settings.USHER_PORT,
    publicUrl: settings.USHER_PUBLIC_URL?.replace(/\/+$/, '') ?? null,
    dataDir: settings.USHER_DATA_DIR,
    databaseUrl: settings.USHER_DATABASE_URL ?? null,
    queueUrl: settings.USHER_QUEUE_URL ?? null,
    queueCheck: settings.USHER_QUEUE_CHECK,
    scimToken: settings.USHER_SCIM_TOKEN ?? null,
    adminToken: settings.USHER_ADMIN_TOKEN ?? null,
    graph,
    oncehub: oncehubConfig(settings),
    oidc,
    mail,
    webhookSecret: settings.USHER_WEBHOOK_SECRET ?? null,
    sessionSecret: settings.USHER_SESSION_SECRET ?? null,
    logLevel: settings.USHER_LOG_LEVEL,
    scimLimits: {
      bodyBytes: settings.USHER_SCIM_MAX_BODY_BYTES,
      pageSize: settings.USHER_SCIM_MAX_PAGE_SIZE,
      bulkOperations: settings.USHER_SCIM_MAX_BULK_OPERATIONS,
      membersPerRequest: settings.USHER_SCIM_MAX_MEMBERS,
      patchOperations: settings.USHER_SCIM_MAX_PATCH_OPERATIONS,
      filterLength: settings.USHER_SCIM_MAX_FILTER_LENGTH,
      filterDepth: settings.USHER_SCIM_MAX_FILTER_DEPTH,
      filterTerms: settings.USHER_SCIM_MAX_FILTER_TERMS,
    },
  };
}

function graphConfig(settings: z.output<typeof settingsSchema>, faults: string[]): GraphConfig | null {
  const tenantId = settings.USHER_GRAPH_TENANT_ID;
  const clientId = settings.USHER_GRAPH_CLIENT_ID;
  const managed = settings.USHER_GRAPH_MANAGED_IDENTITY;
  const proofs = {
    USHER_GRAPH_CLIENT_SECRET: settings.USHER_GRAPH_CLIENT_SECRET,
    USHER_GRAPH_CERTIFICATE_PATH: settings.USHER_GRAPH_CERTIFICATE_PATH,
    USHER_GRAPH_FEDERATED_TOKEN_FILE: settings.USHER_GRAPH_FEDERATED_TOKEN_FILE,
    USHER_GRAPH_MANAGED_IDENTITY: managed,
  };
  const given = Object.entries(proofs).flatMap(([name, value]) => (value ? [name] : []));
  if (!tenantId && !clientId && given.length === 0) return null;
  const before = faults.length;
  if (given.length > 1) faults.push(`${given.join(' and ')}: set one of them; an app registration proves itself once.`);
  if (!tenantId) faults.push('USHER_GRAPH_TENANT_ID: needed to connect Microsoft Graph.');
  if (!clientId && !managed) faults.push('USHER_GRAPH_CLIENT_ID: needed to connect Microsoft Graph.');
  if (given.length === 0)
    faults.push(
      'USHER_GRAPH_CLIENT_SECRET: needed to connect Microsoft Graph; or USHER_GRAPH_CERTIFICATE_PATH, USHER_GRAPH_FEDERATED_TOKEN_FILE, USHER_GRAPH_MANAGED_IDENTITY.',
    );
  if (settings.USHER_GRAPH_NOTIFICATIONS === 'on' && !settings.USHER_PUBLIC_URL?.startsWith('https:'))
    faults.push(
      'USHER_GRAPH_NOTIFICATIONS: Microsoft Graph must reach Usher; set USHER_PUBLIC_URL to an https address.',
    );
  if (faults.length > before) return null;
  const cloud = clouds[settings.USHER_GRAPH_CLOUD];
  const authority = authorityOf(settings, tenantId);
  return {
    tenantId: tenantId ?? '',
    clientId: clientId ?? '',
    credential: credentialOf(settings),
    baseUrl: (settings.USHER_GRAPH_BASE_URL ?? cloud.baseUrl).replace(/\/+$/, '').replace(/\/v1\.0$/, ''),
    authority: authority ?? cloud.authority,
    scope: `${cloud.baseUrl}/.default`,
    ownAuthority: authority !== undefined && authority !== cloud.authority,
    pollSeconds: settings.USHER_GRAPH_POLL_SECONDS,
    notificationUrl:
      settings.USHER_GRAPH_NOTIFICATIONS === 'on'
        ? `${settings.USHER_PUBLIC_URL?.replace(/\/+$/, '')}/graph/notifications`
        : null,
  };
}

/** The login host: with or without the tenant behind it, both are seen in the vendor's examples. */
function authorityOf(settings: z.output<typeof settingsSchema>, tenantId: string | undefined): string | undefined {
  return settings.USHER_GRAPH_AUTHORITY?.replace(/\/+$/, '').replace(
    new RegExp(`/${tenantId?.replace(/[^\w.-]/g, '')}$`, 'i'),
    '',
  );
}

/** Two keys, with a comma between, while one takes the place of the other. */
function oncehubConfig(settings: z.output<typeof settingsSchema>): OnceHubConfig | null {
  const apiKeys = (settings.USHER_ONCEHUB_API_KEY ?? '').split(/[\s,]+/).filter(Boolean);
  if (apiKeys.length === 0) return null;
  const url = settings.USHER_ONCEHUB_BASE_URL.replace(/\/+$/, '');
  // A host alone is meant with the version that this speaks.
  return { baseUrl: new URL(url).pathname === '/' ? `${url}/v2` : url, apiKeys, clockSpeed: 1 };
}

function oidcConfig(settings: z.output<typeof settingsSchema>, faults: string[]): OidcConfig | null {
  const {
    USHER_OIDC_TENANT_ID: tenantId,
    USHER_OIDC_CLIENT_ID: clientId,
    USHER_OIDC_CLIENT_SECRET: clientSecret,
  } = settings;
  if (!tenantId && !clientId && !clientSecret) return null;
  for (const [name, value] of Object.entries({
    USHER_OIDC_TENANT_ID: tenantId,
    USHER_OIDC_CLIENT_ID: clientId,
    USHER_OIDC_CLIENT_SECRET: clientSecret,
  }))
    if (!value) faults.push(`${name}: needed for the sign-in with Entra ID.`);
  if (!tenantId || !clientId || !clientSecret) return null;
  const cloud = clouds[settings.USHER_GRAPH_CLOUD];
  const authority = authorityOf(settings, tenantId);
  return {
    tenantId,
    clientId,
    clientSecret,
    authority: authority ?? cloud.authority,
    ownAuthority: authority !== undefined && authority !== cloud.authority,
  };
}

function mailConfig(settings: z.output<typeof settingsSchema>, faults: string[]): MailConfig | null {
  const { USHER_SMTP_URL: smtpUrl, USHER_MAIL_FROM: from } = settings;
  if (!smtpUrl && !from) return null;
  if (!smtpUrl) faults.push('USHER_SMTP_URL: needed to send mail from USHER_MAIL_FROM.');
  if (!from) faults.push('USHER_MAIL_FROM: needed to send mail; the address that mail comes from.');
  return smtpUrl && from ? { smtpUrl, from } : null;
}

/** `Name <address>` or the address alone. */
function addressIn(text: string): string {
  return /<([^<>]+)>\s*$/.exec(text)?.[1] ?? text.trim();
}

function credentialOf(settings: z.output<typeof settingsSchema>): GraphCredential {
  const { USHER_GRAPH_MANAGED_IDENTITY: managed, USHER_GRAPH_CERTIFICATE_PATH: certificate } = settings;
  // `system` is the machine's own identity; anything else names one that was assigned to it.
  if (managed) return { kind: 'managed', clientId: managed === 'system' ? null : managed };
  if (certificate) return { kind: 'certificate', path: certificate };
  if (settings.USHER_GRAPH_FEDERATED_TOKEN_FILE)
    return { kind: 'federated', tokenFile: settings.USHER_GRAPH_FEDERATED_TOKEN_FILE };
  return { kind: 'secret', secret: settings.USHER_GRAPH_CLIENT_SECRET ?? '' };
}

/** Absent without being asked for is no fault: then nobody is in scope yet. */
async function readPolicyFile(file: string, askedFor: boolean): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !askedFor) return '';
    throw new ConfigError([
      `USHER_POLICY: ${file} can not be read (${(error as NodeJS.ErrnoException).code}). Copy config/policy.example.yaml and edit it.`,
    ]);
  }
}

/** Throws a ConfigError that names each fault with its line. */
export function parsePolicy(text: string, file: string): Policy {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;
  if (document.errors.length > 0)
    throw new ConfigError(document.errors.map((error) => `${at(error.pos[0])}: ${error.message}`));
  const content: unknown = document.toJS() ?? {};
  const parsed = policySchema.safeParse(content);
  const cron = parsed.success && parsed.data.reconcile.at;
  const cronFault = cron ? faultOfCron(cron, parsed.data?.reconcile.timeZone ?? 'UTC') : null;
  if (parsed.success && !cronFault) {
    const version = createHash('sha256').update(JSON.stringify(parsed.data)).digest('hex').slice(0, 12);
    return Object.freeze({ ...parsed.data, version });
  }
  const lineOf = (path: PropertyKey[]): string => {
    // The deepest part of the path that is in the file: a missing key is reported at its parent.
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true);
      if (isNode(node) && node.range) return at(node.range[0]);
    }
    return `${file}:1`;
  };
  if (parsed.success) throw new ConfigError([`${lineOf(['reconcile', 'at'])}: reconcile.at: ${cronFault}`]);
  const faults = parsed.error.issues.flatMap((issue) => {
    const keys = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return keys.map(
      (path) =>
        `${lineOf(path)}: ${path.join('.') || 'policy'}: ${issue.code === 'unrecognized_keys' ? 'no such key' : issue.message}`,
    );
  });
  throw new ConfigError(faults);
}

/** A known name at most two letters away; a swap of neighbours counts as two. */
function nearest(name: string): string | undefined {
  return settingNames.find((known) => Math.abs(known.length - name.length) <= 2 && distance(known, name) <= 2);
}

/** Levenshtein's edit distance. */
function distance(a: string, b: string): number {
  let before = Array.from({ length: b.length + 1 }, (_one, index) => index);
  for (const [row, letter] of [...a].entries()) {
    const next = [row + 1];
    for (const [column, other] of [...b].entries()) {
      next.push(
        Math.min(
          (next[column] ?? 0) + 1,
          (before[column + 1] ?? 0) + 1,
          (before[column] ?? 0) + (letter === other ? 0 : 1),
        ),
      );
    }
    before = next;
  }
  return before.at(-1) ?? 0;
}

/** For editors: config/policy.schema.json is this. */
export function policyJsonSchema(): unknown {
  return z.toJSONSchema(policySchema, { io: 'input' });
}
