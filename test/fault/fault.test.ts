/** Everything that may die, killed once under five seconds of load. */
import { CASES } from './cases.ts';
import { testEach } from './each-case.ts';

testEach(CASES, 5);
