/** What one request may ask for; announced in ServiceProviderConfig where the RFC has a place for it. */
export interface ScimLimits {
  bodyBytes: number;
  pageSize: number;
  defaultPageSize: number;
  bulkOperations: number;
  membersPerRequest: number;
  cursorSeconds: number;
  filterLength: number;
  filterDepth: number;
  filterTerms: number;
  patchOperations: number;
}

export const defaultScimLimits: ScimLimits = {
  bodyBytes: 1_048_576,
  pageSize: 200,
  defaultPageSize: 100,
  bulkOperations: 1000,
  membersPerRequest: 20_000,
  cursorSeconds: 3600,
  filterLength: 8192,
  filterDepth: 30,
  filterTerms: 250,
  patchOperations: 500,
};
