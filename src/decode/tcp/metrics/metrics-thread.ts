// The program of the thread that aside.ts starts.
import { workerData } from 'node:worker_threads';
import { type AsideStart, runAside } from './aside.js';

runAside(workerData as AsideStart);
