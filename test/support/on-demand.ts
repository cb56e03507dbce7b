import { readBootstrap, type Place } from './bootstrap-file.ts';
import { startEnvoy, type Envoy } from './envoy.ts';
import { eventually } from './eventually.ts';

/** An Envoy on `on-demand-server.yaml` that has the certificate it asks for at its start. */
export async function startOnDemand(place: Place): Promise<Envoy> {
  const envoy = await startEnvoy({
    bootstrap: await readBootstrap('on-demand-server', place.replacements),
    name: 'on demand',
  });
  await envoy.waitLive();
  await eventually(async () => (await onDemand(envoy, 'cert_active')) === 1, {
    what: 'the certificate that is asked for at the start is there',
  });
  return envoy;
}

/** A figure of the selectors of all listeners together. */
export async function onDemand(envoy: Envoy, figure: string): Promise<number> {
  const stats = await envoy.stats(new RegExp(`on_demand_secret\\.${figure}$`));
  return [...stats.values()].reduce((sum, value) => sum + value, 0);
}
