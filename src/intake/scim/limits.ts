/** What one request may ask for; announced in ServiceProviderConfig where the RFC has a place for it. */
export const scimLimits = { bodyBytes: 1_048_576, pageSize: 200, defaultPageSize: 100 };
