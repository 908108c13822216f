// A wide table scrolls in a box of the theme's: let that box be reached by the keyboard, too.
const reachable = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((box) => (box.tabIndex = 0));
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();
