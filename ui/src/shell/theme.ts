/** Dark or light: the visitor's choice, else the system's. */

import { useState } from "react";

export type Theme = "dark" | "light";
const KEY = "kvorum.theme";

/** Puts the theme on the page; before anything is drawn. */
export function applyTheme(theme: Theme = currentTheme()): void {
  const root = document.documentElement;
  root.classList.toggle("pf-v6-theme-dark", theme === "dark");
  root.style.colorScheme = theme;
}

export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(currentTheme);
  return [
    theme,
    (next) => {
      localStorage.setItem(KEY, next);
      applyTheme(next);
      setTheme(next);
    },
  ];
}

function currentTheme(): Theme {
  const stored = localStorage.getItem(KEY);
  if (stored === "dark" || stored === "light") return stored;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
