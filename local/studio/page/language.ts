import { signal } from '@preact/signals';
import { TEXTS } from './texts.ts';

export type Language = keyof typeof TEXTS;

const STORAGE_KEY = 'vvchat-studio-language';

const preferred = (): Language => {
  const stored = localStorage.getItem(STORAGE_KEY);
  if (stored === 'en' || stored === 'zh') return stored;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
};

export const language = signal<Language>(preferred());

/** The texts in the current language. */
export const t = () => TEXTS[language.value];

export function switchLanguage(): void {
  language.value = language.value === 'en' ? 'zh' : 'en';
  localStorage.setItem(STORAGE_KEY, language.value);
}
