/**
 * The attributes we speak, as data: SCIMMY's definitions of RFC 7643's schemas, and an extension of our own. Everything else here
 * (bodies, paths, filters, projections) looks attributes up in these tables, without regard to letter case (RFC 7643 section 2.1).
 */
import SCIMMY from 'scimmy';

export const urns = {
  user: 'urn:ietf:params:scim:schemas:core:2.0:User',
  group: 'urn:ietf:params:scim:schemas:core:2.0:Group',
  enterprise: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User',
  usher: 'urn:ietf:params:scim:schemas:extension:usher:2.0:User',
  limits: 'urn:ietf:params:scim:schemas:extension:usher:2.0:Limits',
  listResponse: 'urn:ietf:params:scim:api:messages:2.0:ListResponse',
  patchOp: 'urn:ietf:params:scim:api:messages:2.0:PatchOp',
  error: 'urn:ietf:params:scim:api:messages:2.0:Error',
  searchRequest: 'urn:ietf:params:scim:api:messages:2.0:SearchRequest',
  bulkRequest: 'urn:ietf:params:scim:api:messages:2.0:BulkRequest',
  bulkResponse: 'urn:ietf:params:scim:api:messages:2.0:BulkResponse',
} as const;

export interface AttributeDefinition {
  name: string;
  type: 'string' | 'boolean' | 'decimal' | 'integer' | 'dateTime' | 'binary' | 'reference' | 'complex';
  multiValued: boolean;
  required: boolean;
  caseExact: boolean;
  mutability: 'readOnly' | 'readWrite' | 'immutable' | 'writeOnly';
  returned: 'always' | 'never' | 'default' | 'request';
  subAttributes: AttributeDefinition[];
}

export interface ResourceSchema {
  name: string;
  urn: string;
  attributes: AttributeDefinition[];
  extensions: { urn: string; name: string; attributes: AttributeDefinition[] }[];
}

type Described = Partial<AttributeDefinition> & {
  name: string;
  type: AttributeDefinition['type'];
  canonicalValues?: unknown;
};

/** `type` of an e-mail and the like is a suggestion, not a list (RFC 7643 section 7): "Work", "desk" and null are accepted. */
function withoutCanonicalValues({ canonicalValues: _suggestions, subAttributes, ...attribute }: Described): Described {
  return {
    ...attribute,
    ...(subAttributes ? { subAttributes: (subAttributes as Described[]).map(withoutCanonicalValues) as never } : {}),
  };
}

export interface SchemaDocument {
  schemas: string[];
  id: string;
  name: string;
  description: string;
  attributes: Described[];
}

function describe(definition: { describe(): unknown }): SchemaDocument {
  const document = JSON.parse(JSON.stringify(definition.describe())) as SchemaDocument & { meta?: unknown };
  delete document.meta;
  return { ...document, attributes: document.attributes.map(withoutCanonicalValues) };
}

const { Attribute, SchemaDefinition } = SCIMMY.Types;

const usherExtension = new SchemaDefinition(
  'UsherUser',
  urns.usher,
  'What the identity provider asks of the scheduling account; it counts only where a policy rule says from-directory.',
  [
    new Attribute('string', 'role', {
      description: 'Administrator or Member; never above the maximumRole of the source.',
    }),
    new Attribute('string', 'licenses', { multiValued: true, description: 'The kinds of license wished.' }),
    new Attribute('string', 'bookingPages', {
      multiValued: true,
      description: 'The link names of the Booking pages wished.',
    }),
    new Attribute('string', 'timeZone', { description: 'An IANA time zone; goes before the core attribute timezone.' }),
    new Attribute('boolean', 'ready', {
      mutable: false,
      returned: true,
      description: 'Whether the person can be booked. Returned when asked for by name.',
    }),
    new Attribute(
      'complex',
      'conditions',
      {
        mutable: false,
        multiValued: true,
        returned: true,
        description:
          'What is known about each part of the set-up: why it is not true, and who must act. Returned when asked for by name.',
      },
      [
        new Attribute('string', 'type', { mutable: false }),
        new Attribute('string', 'status', { mutable: false }),
        new Attribute('string', 'reason', { mutable: false }),
        new Attribute('string', 'message', { mutable: false }),
        new Attribute('string', 'owner', { mutable: false }),
      ],
    ),
  ],
);

/** `returned: request` is a characteristic of RFC 7643 that SCIMMY's attributes can not say. */
function onRequest(document: SchemaDocument, names: string[]): SchemaDocument {
  return {
    ...document,
    attributes: document.attributes.map((attribute) =>
      names.includes(attribute.name) ? { ...attribute, returned: 'request' } : attribute,
    ),
  };
}

export const schemaDocuments: SchemaDocument[] = [
  describe(SCIMMY.Schemas.User.definition),
  describe(SCIMMY.Schemas.EnterpriseUser.definition),
  onRequest(describe(usherExtension), ['ready', 'conditions']),
  describe(SCIMMY.Schemas.Group.definition),
];

function complete(attribute: Described): AttributeDefinition {
  return {
    name: attribute.name,
    type: attribute.type,
    multiValued: attribute.multiValued ?? false,
    required: attribute.required ?? false,
    caseExact: attribute.caseExact ?? false,
    mutability: attribute.mutability ?? 'readWrite',
    returned: attribute.returned ?? 'default',
    subAttributes: ((attribute.subAttributes ?? []) as Described[]).map(complete),
  };
}

/** RFC 7643 section 3.1: in every resource, part of no schema. */
const common: AttributeDefinition[] = [
  complete({ name: 'id', type: 'string', caseExact: true, mutability: 'readOnly', returned: 'always' }),
  complete({ name: 'externalId', type: 'string', caseExact: true }),
  complete({
    name: 'schemas',
    type: 'reference',
    multiValued: true,
    mutability: 'readOnly',
    returned: 'always',
    caseExact: true,
  }),
  complete({
    name: 'meta',
    type: 'complex',
    mutability: 'readOnly',
    subAttributes: (['resourceType', 'location', 'version'] as const)
      .map((name) => complete({ name, type: 'string', caseExact: true, mutability: 'readOnly' }))
      .concat(
        (['created', 'lastModified'] as const).map((name) =>
          complete({ name, type: 'dateTime', mutability: 'readOnly' }),
        ),
      ),
  }),
];

const attributesOf = (urn: string): AttributeDefinition[] =>
  (schemaDocuments.find((document) => document.id === urn)?.attributes ?? []).map(complete);

export const userSchema: ResourceSchema = {
  name: 'User',
  urn: urns.user,
  attributes: [...common, ...attributesOf(urns.user)],
  extensions: [
    { urn: urns.enterprise, name: 'EnterpriseUser', attributes: attributesOf(urns.enterprise) },
    { urn: urns.usher, name: 'UsherUser', attributes: attributesOf(urns.usher) },
  ],
};

export const groupSchema: ResourceSchema = {
  name: 'Group',
  urn: urns.group,
  attributes: [...common, ...attributesOf(urns.group)],
  extensions: [],
};

export function findAttribute(attributes: AttributeDefinition[], name: string): AttributeDefinition | undefined {
  const wanted = name.toLowerCase();
  return attributes.find((attribute) => attribute.name.toLowerCase() === wanted);
}

export interface AttributePath {
  /** Null for a core attribute. */
  extension: string | null;
  /** Null for a bare extension URN. */
  attribute: AttributeDefinition | null;
  sub: AttributeDefinition | null;
}

/** `userName`, `name.givenName`, `URN:attr`, `URN:attr.sub`, a bare extension URN; null when nothing of that name exists. */
export function resolvePath(schema: ResourceSchema, text: string): AttributePath | null {
  let extension: string | null = null;
  let rest = text;
  if (/^urn:/i.test(text)) {
    const lower = text.toLowerCase();
    const urn = [schema.urn, ...schema.extensions.map((entry) => entry.urn)].find(
      (known) => lower === known.toLowerCase() || lower.startsWith(`${known.toLowerCase()}:`),
    );
    if (!urn) return null;
    rest = text.slice(urn.length + 1);
    extension = urn === schema.urn ? null : urn;
    if (rest === '') return extension ? { extension, attribute: null, sub: null } : null;
  }
  const [first = '', second, ...more] = rest.split('.');
  if (more.length > 0) return null;
  const attributes = extension
    ? (schema.extensions.find((entry) => entry.urn === extension)?.attributes ?? [])
    : schema.attributes;
  const attribute = findAttribute(attributes, first);
  if (!attribute) return null;
  if (second === undefined) return { extension, attribute, sub: null };
  const sub = findAttribute(attribute.subAttributes, second);
  return sub ? { extension, attribute, sub } : null;
}
