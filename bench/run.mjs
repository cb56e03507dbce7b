// Starts the bench, which is TypeScript, without a build: npm run bench -- --help
import { register } from 'tsx/esm/api';

register();
const { main } = await import('./main.ts');
process.exitCode = await main(process.argv.slice(2));
