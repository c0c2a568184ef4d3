// Commands are shown with the address at which this page is.
const base = new URL(".", location.href).href;
for (const code of document.querySelectorAll("pre.command")) code.textContent = code.textContent.replaceAll("ADDRESS/", base);
