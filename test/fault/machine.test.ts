/** Backends that come and go, and a machine that runs out of things, each once under five seconds of load. */
import { BACKEND_CASES } from './backend-cases.ts';
import { testEach } from './each-case.ts';
import { MACHINE_CASES } from './machine-cases.ts';

testEach([...BACKEND_CASES, ...MACHINE_CASES], 5);
