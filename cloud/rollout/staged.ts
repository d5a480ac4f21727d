/** Versions of models that are rolled out by themselves: the newest that is published under the policy `staged`, where it is newer than what is deployed. */
import type { ModelRecord } from '../../shared/contract/admin.ts';
import type { StagedVersion } from '../ports.ts';

/** A model of which nothing is deployed has nothing to go back to. */
export function stagedModels(
  models: readonly Pick<ModelRecord, 'name' | 'policy' | 'plan' | 'deployed' | 'versions'>[],
): StagedVersion[] {
  return models.flatMap(({ name, policy, plan, deployed, versions }) => {
    const newest = versions.find(({ published }) => published);
    if (policy !== 'staged' || !newest || deployed === null) return [];
    return Number(newest.version) > Number(deployed) ? { model: name, version: newest.version, plan } : [];
  });
}
