// The button for dark and light.

function showTheme() {
  const forced = document.documentElement.dataset.theme;
  const isDark = forced ? forced === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  byId("theme").setAttribute("aria-pressed", String(isDark));
}

byId("theme").addEventListener("click", () => {
  const theme = byId("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("re2tal-theme", theme);
  } catch {}
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();
