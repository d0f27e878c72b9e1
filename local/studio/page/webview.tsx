import { useSignal } from '@preact/signals';
import type { Webview } from '../show-command.ts';
import { t } from './language.ts';
import { robotName } from './store.ts';

/** The web view that a robot has opened in a group, at the height that it asked for. */
export function WebviewPanel({ webview }: { webview: Webview }) {
  const isFolded = useSignal(false);
  const { height, robot_no } = webview;
  const address = addressOf(webview.url);
  const name = t().webview(robotName(robot_no));
  const size = height.endsWith('%') ? height : `${height}px`;
  return (
    <section
      class="webview"
      aria-label={name}
      style={isFolded.value ? undefined : { height: size }}
    >
      <div class="bar">
        <span>{address?.href ?? name}</span>
        <button
          type="button"
          aria-expanded={!isFolded.value}
          onClick={() => (isFolded.value = !isFolded.value)}
        >
          {isFolded.value ? t().unfold : t().fold}
        </button>
      </div>
      {!isFolded.value &&
        (address ? <Frame name={name} address={address} /> : <p>{t().noAddress}</p>)}
    </section>
  );
}

/** Sandboxed: the page cannot reach the studio or navigate the window. */
function Frame({ name, address }: { name: string; address: URL }) {
  const isForeign = address.origin !== location.origin;
  return (
    <iframe
      title={name}
      src={address.href}
      sandbox={`allow-scripts allow-forms${isForeign ? ' allow-same-origin' : ''}`}
      referrerpolicy="no-referrer"
    />
  );
}

function addressOf(url: string): URL | undefined {
  const address = URL.canParse(url) ? new URL(url) : undefined;
  return address && /^https?:$/.test(address.protocol) ? address : undefined;
}
