/** Which language the page speaks: the visitor's choice, else the browser's, else English. */

import { createContext, useContext, useLayoutEffect, useMemo, useState, type ReactNode } from "react";
import { de } from "./de";
import { en, type Dictionary } from "./en";

export type Language = "en" | "de";
export const LANGUAGES: Record<Language, { name: string; dictionary: Dictionary }> = {
  en: { name: "English", dictionary: en },
  de: { name: "Deutsch", dictionary: de },
};

const KEY = "kvorum.language";

interface Choice {
  language: Language;
  t: Dictionary;
  setLanguage: (language: Language) => void;
}

const Text = createContext<Choice | null>(null);

/** Gives the page below it a language. */
export function TextProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(initialLanguage);
  useLayoutEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const choice = useMemo<Choice>(
    () => ({
      language,
      t: LANGUAGES[language].dictionary,
      setLanguage: (next) => {
        localStorage.setItem(KEY, next);
        setLanguage(next);
      },
    }),
    [language],
  );
  return <Text value={choice}>{children}</Text>;
}

/** The dictionary of the chosen language. */
export function useText(): Dictionary {
  return useLanguage().t;
}

/** The chosen language, and how to choose another. */
export function useLanguage(): Choice {
  const choice = useContext(Text);
  if (!choice) throw new Error("no TextProvider stands above this component");
  return choice;
}

function initialLanguage(): Language {
  const stored = localStorage.getItem(KEY);
  if (stored === "de" || stored === "en") return stored;
  return navigator.language.toLowerCase().startsWith("de") ? "de" : "en";
}
