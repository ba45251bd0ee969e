import "@patternfly/react-core/dist/styles/base.css";
import "./shell/page.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { liveData } from "./api/live";
import { resumeSession } from "./api/session";
import { TextProvider } from "./i18n/text";
import { App } from "./shell/App";
import { applyTheme } from "./shell/theme";

applyTheme();
void resumeSession();

const place = document.getElementById("page");
if (!place) throw new Error("index.html has no element with the id page");
createRoot(place).render(
  <StrictMode>
    <QueryClientProvider client={liveData}>
      <TextProvider>
        <App />
      </TextProvider>
    </QueryClientProvider>
  </StrictMode>,
);
