/** MongoDB and Redis that do not just die, each once under a short load. */
import { testEach } from './each-case.ts';
import { RELAY_CASES } from './relay-cases.ts';

testEach(RELAY_CASES, 3);
