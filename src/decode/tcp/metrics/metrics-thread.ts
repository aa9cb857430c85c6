// The program of the thread that aside.ts starts.
import { workerData } from 'node:worker_threads';
import { keepHeapSmall } from '../../../heap.js';
import { type AsideStart, runAside } from './aside.js';

keepHeapSmall();
runAside(workerData as AsideStart);
