/** What serving processes of a node tell each other, and sync, about backends that fail. */
/**
 * Failures of one backend, for the other processes of the node and the checks. `count`: failed connects; 0 when
 * something else says that it should be looked at, or one of the fields below is meant.
 */
export interface FailureReport {
  readonly service: string;
  readonly address: string;
  readonly count: number;
  /** Answers 5xx in a row, where the service ejects for them; 0: another answer ended the row that was told. */
  readonly status5xx?: number;
  /** It was ejected for this time. */
  readonly ejectedMs?: number;
}
