/** `kontrol proxy`: one node alone. This process is its primary and imports no driver. */
import { startNode } from '../proxy/primary/main.ts';
import { KontrolError } from '../shared/errors.ts';
import { createLog } from '../shared/log-create.ts';
import { helpText, readSettings } from '../shared/settings.ts';
import { takeOrders, tellParent } from './supervised.ts';
