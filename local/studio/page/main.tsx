import { effect } from '@preact/signals';
import { render } from 'preact';
import { ChatList } from './chat-list.tsx';
import { Conversation } from './conversation.tsx';
import { Memberships } from './memberships.tsx';
import { be, fault, follow, isConnected, person, state, type View, view, views } from './store.ts';
import { language, switchLanguage, t } from './texts.ts';
import { WeatherView } from './weather.tsx';
import { WireView } from './wire.tsx';

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
  document.title = t().title;
});

function App() {
  return (
    <div class="app" data-view={view.value}>
      <Header />
      <Notices />
      <nav class="views" aria-label={t().title}>
        {views.map((it) => (
          <ViewButton key={it} name={it} />
        ))}
      </nav>
      <ChatList />
      <Conversation />
      <Inspector />
    </div>
  );
}

function Header() {
  const weather = state.value.weather.get('now') ?? 'fine';
  return (
    <header class="top">
      <h1>{t().title}</h1>
      <p class="subtitle">{t().subtitle}</p>
      {weather !== 'fine' && (
        <button type="button" class="badge bad" onClick={() => (view.value = 'weather')}>
          {t().weatherNow(t().weathers[weather][0])}
        </button>
      )}
      <label class="you">
        <span>{t().you}</span>
        <select value={person.value?.open_id} onChange={(e) => be(e.currentTarget.value)}>
          {[...state.value.people.values()].map(({ open_id, name }) => (
            <option key={open_id} value={open_id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        class="language"
        lang={language.value === 'en' ? 'zh-CN' : 'en'}
        onClick={switchLanguage}
      >
        {t().language}
      </button>
    </header>
  );
}

function Notices() {
  return (
    <div class="notices" role="status">
      {!isConnected.value && <p>{t().disconnected}</p>}
      {fault.value && <p>{fault.value}</p>}
    </div>
  );
}

function ViewButton({ name }: { name: View }) {
  return (
    <button
      type="button"
      data-name={name}
      aria-current={view.value === name ? 'page' : undefined}
      onClick={() => (view.value = name)}
    >
      {t().views[name]}
    </button>
  );
}

/** Beside the chat in a wide window; in a narrow one, in its place. */
function Inspector() {
  const name = view.value === 'memberships' || view.value === 'weather' ? view.value : 'wire';
  return (
    <section class="inspector" aria-label={t().views[name]} data-name={name}>
      {name === 'wire' && <WireView />}
      {name === 'memberships' && <Memberships />}
      {name === 'weather' && <WeatherView />}
    </section>
  );
}

follow();
render(<App />, document.body);
