/** Who answers at the internal port that a node was given: another node of this machine may have been there first. */
import type { ListenAddress } from '../shared/settings.ts';

/** A node answers in milliseconds; what is printed at the start does not wait for longer. */
const ANSWER_MS = 2_000;

/**
 * True when something else than the node whose primary has this pid answers there. False when it is ours, or when
 * nobody answers (yet).
 */
export async function isHeldByAnother(address: ListenAddress, primary: number): Promise<boolean> {
  let response: Response;
  try {
    response = await fetch(`${urlOf('http', address)}/status`, {
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(ANSWER_MS),
      redirect: 'manual',
    });
  } catch (error) {
    // Whatever it is that does not speak HTTP there is not ours.
    const { cause } = error as { readonly cause?: { readonly code?: string } };
    return cause?.code?.startsWith('HPE_') === true;
  }
  const report = (await response.json().catch(() => null)) as {
    readonly node?: { readonly processes?: readonly { readonly role?: string; readonly pid?: number }[] };
  } | null;
  // A sync process of ours that has not heard of its primary yet.
  if (report?.node?.processes?.length === 0) return false;
  return report?.node?.processes?.some(({ role, pid }) => role === 'primary' && pid === primary) !== true;
}

/** As a browser on this machine takes it. */
export function urlOf(scheme: string, { host, port }: ListenAddress): string {
  const name = host === '' || host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  return `${scheme}://${name.includes(':') ? `[${name}]` : name}:${port}`;
}
