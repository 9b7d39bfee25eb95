/**
 * What every adapter of the store has to pass. The test file of an adapter calls this with the means to make an
 * empty store, to open it many times, also from other processes, and to edit it behind its back.
 */
import { documentConformance } from './conformance-documents.ts';
import { editConformance } from './conformance-edits.ts';
import { followerConformance } from './conformance-follower.ts';
import { liveConformance } from './conformance-live.ts';
import { logConformance } from './conformance-log.ts';
import { type Adapter, onStoreOf } from './conformance-place.ts';
import { raceConformance } from './conformance-races.ts';

export function storeConformance(adapter: Adapter): void {
  const onStore = onStoreOf(adapter);
  logConformance(onStore);
  documentConformance(onStore);
  editConformance(onStore);
  liveConformance(onStore);
  followerConformance(onStore);
  raceConformance(onStore);
}
