/** Discovery documents (RFC 7644 section 4, RFC 7643 sections 5 to 7): what they say is what the server does. */
import { scimLimits } from './limits.ts';
import { schemaDocuments, urns, userSchema } from './schema.ts';

export function serviceProviderConfig(base: string) {
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig'],
    patch: { supported: true },
    bulk: { supported: false, maxOperations: 0, maxPayloadSize: scimLimits.bodyBytes },
    filter: { supported: true, maxResults: scimLimits.pageSize },
    changePassword: { supported: false },
    sort: { supported: false },
    etag: { supported: true },
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
  return [
    {
      schemas: ['urn:ietf:params:scim:schemas:core:2.0:ResourceType'],
      id: 'User',
      name: 'User',
      description: 'People to be made bookable',
      endpoint: '/Users',
      schema: urns.user,
      schemaExtensions: userSchema.extensions.map((extension) => ({ schema: extension.urn, required: false })),
      meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/User` },
    },
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
