/**
 * Retries under way at once: at most a fifth of what is active, but always `FLOOR`. So retries can never multiply the
 * load on a service that is failing because of load.
 */
const SHARE = 0.2;
/** Per service and process. */
const FLOOR = 50;

export class RetryBudget {
  underWay = 0;

  /** `active`: exchanges of the service under way now. */
  take(active: number): boolean {
    if (this.underWay >= Math.max(FLOOR, active * SHARE)) return false;
    this.underWay++;
    return true;
  }

  done(): void {
    if (this.underWay > 0) this.underWay--;
  }
}
