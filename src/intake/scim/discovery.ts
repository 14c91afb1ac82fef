/** Discovery documents (RFC 7644 section 4, RFC 7643 sections 5 to 7, RFC 9865 section 4): what they say is what the server does. */
import type { ScimLimits } from './limits.ts';
import { groupSchema, schemaDocuments, urns, userSchema } from './schema.ts';

export function serviceProviderConfig(base: string, limits: ScimLimits) {
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig', urns.limits],
    // What the RFC has no attribute for.
    [urns.limits]: {
      maxMembersPerRequest: limits.membersPerRequest,
      maxPatchOperations: limits.patchOperations,
      maxFilterLength: limits.filterLength,
      maxFilterDepth: limits.filterDepth,
      maxFilterTerms: limits.filterTerms,
    },
    patch: { supported: true },
    bulk: { supported: true, maxOperations: limits.bulkOperations, maxPayloadSize: limits.bodyBytes },
    filter: { supported: true, maxResults: limits.pageSize },
    changePassword: { supported: false },
    sort: { supported: true },
    etag: { supported: true },
    pagination: {
      cursor: true,
      index: true,
      defaultPaginationMethod: 'index',
      defaultPageSize: limits.defaultPageSize,
      maxPageSize: limits.pageSize,
      cursorTimeout: limits.cursorSeconds,
    },
    authenticationSchemes: [
      {
        type: 'oauthbearertoken',
        name: 'Bearer token',
        description: 'A long-lived token of one source, made with «usher token create».',
        specUri: 'https://www.rfc-editor.org/info/rfc6750',
        primary: true,
      },
    ],
    meta: { resourceType: 'ServiceProviderConfig', location: `${base}/ServiceProviderConfig` },
  };
}

export function resourceTypes(base: string) {
  const type = (id: string, endpoint: string, description: string, schema: string, extensions: string[]) => ({
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:ResourceType'],
    id,
    name: id,
    description,
    endpoint,
    schema,
    ...(extensions.length > 0
      ? { schemaExtensions: extensions.map((extension) => ({ schema: extension, required: false })) }
      : {}),
    meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/${id}` },
  });
  return [
    type(
      'User',
      '/Users',
      'People to be made bookable',
      urns.user,
      userSchema.extensions.map((extension) => extension.urn),
    ),
    type('Group', '/Groups', 'Groups that the policy gives by', groupSchema.urn, []),
  ];
}

export function schemaList(base: string) {
  return schemaDocuments.map((document) => ({
    ...document,
    meta: { resourceType: 'Schema', location: `${base}/Schemas/${document.id}` },
  }));
}

export function schemaByUrn(urn: string, base: string) {
  return schemaList(base).find((document) => document.id.toLowerCase() === urn.toLowerCase()) ?? null;
}
