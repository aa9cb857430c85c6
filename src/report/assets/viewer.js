// Brings the page to life: charts, one shared time window, proof links, tables that sort and copy, light and dark.
//
// Everything shown comes from the two data elements of the page; text goes in as text, never as markup. The plain page
// without this script still has the verdict, the findings and every table.

(() => {
  const page = JSON.parse(document.getElementById('page-data').textContent);
  const root = document.documentElement;

  // ── theme ──────────────────────────────────────────────────────────────────────────────────────────────────────
  const prefersDark = matchMedia('(prefers-color-scheme: dark)');
  let printing = false;
  const themeName = () => (printing ? 'light' : (root.dataset.theme ?? (prefersDark.matches ? 'dark' : 'light')));

  /** The specification with every '@name' replaced by the colour of the theme. */
  function recoloured(value, theme) {
    if (typeof value === 'string') {
      return value[0] === '@' ? (page.palette[value.slice(1)]?.[theme === 'dark' ? 1 : 0] ?? value) : value;
    }
    if (Array.isArray(value)) return value.map((item) => recoloured(item, theme));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recoloured(item, theme)]));
  }

  // ── quantities, as the program writes them ─────────────────────────────────────────────────────────────────────
  function digits(value) {
    if (value === 0) return '0';
    const decimals = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
    return value.toFixed(Math.min(9, decimals));
  }
  function scaled(value, units) {
    let unit = 0;
    while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
      value /= 1000;
      unit++;
    }
    return `${digits(value)} ${units[unit]}`;
  }
  const format = {
    'bit/s': (v) => scaled(v, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']),
    bytes: (v) => scaled(v, ['B', 'kB', 'MB', 'GB', 'TB']),
    s: (v) => (v >= 1 ? `${digits(v)} s` : v >= 1e-3 ? `${digits(v * 1e3)} ms` : `${digits(v * 1e6)} µs`),
    count: (v) => String(v),
  };
  function moment(seconds, span) {
    const decimals = Math.min(9, Math.max(0, 3 - Math.floor(Math.log10(Math.max(span, 1e-9)))));
    return `${seconds.toFixed(decimals)} s`;
  }

  // ── tooltip ────────────────────────────────────────────────────────────────────────────────────────────────────
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.setAttribute('role', 'status');
  tip.hidden = true;
  document.body.append(tip);
  function showTip(event, text) {
    tip.hidden = text === null || text === undefined || text === '';
    if (tip.hidden) return;
    tip.textContent = String(text);
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6))}px`;
    tip.style.top = `${Math.max(4, event.clientY - box.height - 12)}px`;
  }

  // ── charts ─────────────────────────────────────────────────────────────────────────────────────────────────────
  /** Dataset columns → rows; fresh objects, because a view marks the rows it is given. */
  function rowsOf(columns) {
    const names = Object.keys(columns);
    return Array.from({ length: columns[names[0]].length }, (_, row) => {
      const object = {};
      for (const name of names) object[name] = columns[name][row];
      return object;
    });
  }

  /** px that fit on A4 and Letter between the usual margins: what a print begins with is laid out for the screen still. */
  const PAPER_WIDTH = 690;

  /** Column 'kind' of the segments. */
  const ACKNOWLEDGEMENT = 2;

  class Chart {
    constructor(scene, definition, figure) {
      this.scene = scene;
      this.definition = definition;
      this.figure = figure;
      this.plot = figure.querySelector('.plot');
      this.canvas = figure.querySelector('.canvas');
      this.plot.style.height = `${definition.height}px`;
      this.near = false;
      this.stale = true;
      this.view = null;
    }
    get width() {
      const box = printing ? PAPER_WIDTH : this.plot.clientWidth;
      return Math.max(60, box - this.definition.left - page.margin.right);
    }
    /** Seconds at a horizontal position of the pointer. */
    timeAt(clientX) {
      const x = clientX - this.plot.getBoundingClientRect().left - this.definition.left;
      const [from, to] = this.shownWindow;
      return from + (Math.min(Math.max(x, 0), this.width) / this.width) * (to - from);
    }
    xOf(seconds) {
      const [from, to] = this.shownWindow;
      return this.definition.left + ((seconds - from) / (to - from)) * this.width;
    }
    get shownWindow() {
      return this.definition.id === 'overview' ? this.scene.whole : this.scene.window;
    }
    build() {
      this.view?.finalize();
      const spec = recoloured(this.definition.spec, themeName());
      this.view = new vega.View(vega.parse(spec), {
        renderer: 'canvas',
        container: this.canvas,
        hover: true,
        logLevel: vega.Error,
        loader: {
          load: () => Promise.reject(new Error('The page loads nothing.')),
          sanitize: () => Promise.reject(new Error('The page links nowhere.')),
        },
        tooltip: (_handler, event, _item, value) => showTip(event, value),
      });
      for (const { name, source } of spec.data ?? []) {
        const columns = this.scene.data[name];
        if (columns && source === undefined) this.view.data(name, rowsOf(columns));
      }
      this.stale = true;
    }
    /**
     * Ends the vertical axis a little above what the window shows. A few peaks far above the rest would press it flat:
     * they are cut off, and the caption says how high they reach.
     */
    #fit(from, to) {
      const { timeline } = this.scene.data;
      const values = [];
      for (const name of this.definition.fit) {
        timeline[name].forEach((value, row) => {
          if (value !== null && timeline.t2[row] >= from && timeline.t[row] <= to) values.push(value);
        });
      }
      values.sort((a, b) => a - b);
      const max = values.at(-1) ?? 0;
      const usual = values[Math.floor((values.length - 1) * 0.98)] ?? 0;
      const cut = values.length > 50 && max > 3 * usual && usual > 0;
      this.view.signal('top', cut ? usual * 1.7 : max > 0 ? max * 1.08 : 1);
      const note = this.figure.querySelector('.cut');
      note.hidden = !cut;
      const unit = this.figure.querySelector('[data-unit]')?.dataset.unit ?? 'count';
      note.textContent = cut ? `peaks up to ${format[unit](max)} are cut off` : '';
    }
    /** Draws what is due; charts far from the screen wait. */
    refresh() {
      if (!this.near && !printing) return;
      if (!this.view) this.build();
      if (!this.stale) return;
      this.stale = false;
      this.view.width(this.width);
      if (this.definition.axis === 'time') {
        const [from, to] = this.shownWindow;
        this.view.signal('t0', from).signal('t1', to);
        if (this.definition.fit) this.#fit(from, to);
        if (this.definition.id === 'sequence') {
          const stretch = this.scene.stretchWithin(from, to);
          const [low, high] =
            stretch < 0 ? this.scene.sentBetween(from, to) : this.scene.segmentsBetween(stretch, from, to);
          this.view.signal('stretch', stretch).signal('s0', low).signal('s1', high);
          for (const button of document.querySelectorAll(`[data-proof="${this.scene.id}"][data-stretch]`)) {
            button.setAttribute('aria-pressed', String(Number(button.dataset.stretch) === stretch));
          }
        }
      }
      this.view.run();
    }
  }

  class Scene {
    constructor(data, element) {
      this.id = data.id;
      this.data = data.data;
      this.whole = data.window;
      this.window = [...data.window];
      this.element = element;
      this.mark = null;
      /** The stretch with single segments that was asked for, -1 without. */
      this.chosen = -1;
      this.charts = data.charts.map(
        (chart) => new Chart(this, chart, document.getElementById(`${data.id}-${chart.id}`)),
      );
      this.timeCharts = this.charts.filter((chart) => chart.definition.axis === 'time');
      const watcher = new IntersectionObserver(
        (entries) => {
          for (const entry of entries) {
            const chart = this.charts.find((one) => one.figure === entry.target);
            chart.near = entry.isIntersecting;
            chart.refresh();
          }
        },
        { rootMargin: '300px' },
      );
      const sizes = new ResizeObserver(() => this.redraw());
      for (const chart of this.charts) {
        watcher.observe(chart.figure);
        sizes.observe(chart.plot);
      }
      for (const chart of this.timeCharts) {
        if (chart.definition.id === 'overview') this.#connectStrip(chart);
        else this.#connect(chart);
      }
      this.#placeRange();
      // What is on the screen at once must not wait for the watcher: a print or a screenshot may be taken before.
      for (const chart of this.charts) {
        const { top } = chart.figure.getBoundingClientRect();
        chart.near = top < window.innerHeight + 300;
        chart.refresh();
      }
    }

    /** Shows [from, to]; limits it to the run and to a millionth of it. */
    show(from, to) {
      const [start, end] = this.whole;
      const span = Math.min(end - start, Math.max(to - from, (end - start) * 1e-6, 1e-7));
      const middle = (from + to) / 2;
      const at = Math.min(Math.max(middle - span / 2, start), end - span);
      this.window = span === end - start ? [start, end] : [at, at + span];
      for (const chart of this.timeCharts) if (chart.definition.id !== 'overview') chart.stale = true;
      this.#placeRange();
      this.#schedule();
    }
    zoom(factor, around = (this.window[0] + this.window[1]) / 2) {
      const [from, to] = this.window;
      this.show(around - (around - from) * factor, around + (to - around) * factor);
    }
    pan(share) {
      const [from, to] = this.window;
      this.show(from + (to - from) * share, to + (to - from) * share);
    }
    reset() {
      this.mark = null;
      this.chosen = -1;
      this.show(...this.whole);
    }
    /** Shows a stretch with some room around it and marks it. */
    prove(from, to) {
      this.mark = [from, to];
      const room = Math.max((to - from) * 0.35, (this.whole[1] - this.whole[0]) * 0.002);
      this.show(from - room, to + room);
    }
    redraw() {
      for (const chart of this.charts) chart.stale = true;
      this.#placeRange();
      this.#schedule();
    }
    rebuild() {
      for (const chart of this.charts) {
        chart.view?.finalize();
        chart.view = null;
      }
      this.redraw();
    }
    refreshNow() {
      for (const chart of this.charts) chart.refresh();
      this.#placeMarks();
    }
    sentBetween(from, to) {
      const { t, sent, acked } = this.data.timeline;
      const last = (time) => {
        let low = 0;
        let high = t.length - 1;
        while (low < high) {
          const middle = (low + high + 1) >> 1;
          if (t[middle] <= time) low = middle;
          else high = middle - 1;
        }
        return low;
      };
      const bottom = acked[Math.max(0, last(from) - 1)];
      const top = sent[last(to)];
      const room = Math.max(1, (top - bottom) * 0.06);
      return [bottom <= room ? 0 : bottom - room, Math.max(bottom + 1, top) + room];
    }

    /**
     * The stretch with single segments to show in a window, of which it fills a third at least; -1 for none. One that was
     * chosen comes first; unasked, one is shown only where it is all but a little of what was sent then, on all channels together.
     */
    stretchWithin(from, to) {
      const { stretches } = this.data;
      if (!stretches) return -1;
      const fills = (i) => Math.min(to, stretches.to[i]) - Math.max(from, stretches.from[i]);
      let most = (to - from) / 3;
      const chosen = stretches.stretch.indexOf(this.chosen);
      if (chosen >= 0 && fills(chosen) > most) return this.chosen;
      const [low, high] = this.sentBetween(from, to);
      let best = -1;
      stretches.stretch.forEach((stretch, i) => {
        if (fills(i) <= most) return;
        const [first, last] = this.segmentsBetween(stretch, from, to);
        if (last - first < 0.9 * (high - low)) return;
        most = fills(i);
        best = stretch;
      });
      return best;
    }
    /** The bytes that a stretch sends or acknowledges in a window, with some room. */
    segmentsBetween(stretch, from, to) {
      const { segments } = this.data;
      let low = Number.POSITIVE_INFINITY;
      let high = Number.NEGATIVE_INFINITY;
      segments.stretch.forEach((one, row) => {
        if (one !== stretch || segments.t[row] < from || segments.t[row] > to) return;
        low = Math.min(low, segments.low[row]);
        // The window's edge may lie far above: an acknowledgement counts with the byte it asks for.
        high = Math.max(high, segments.kind[row] === ACKNOWLEDGEMENT ? segments.low[row] : segments.high[row]);
      });
      const room = Math.max(1, (high - low) * 0.08);
      return high >= low ? [low - room, high + room] : [0, 1];
    }

    #schedule() {
      if (this.pending) return;
      this.pending = requestAnimationFrame(() => {
        this.pending = 0;
        this.refreshNow();
      });
    }

    #placeRange() {
      const strip = this.timeCharts.find((chart) => chart.definition.id === 'overview');
      if (!strip) return;
      const range = strip.plot.querySelector('.range');
      const [from, to] = this.window;
      const left = strip.xOf(from);
      range.style.left = `${left}px`;
      range.style.width = `${Math.max(3, strip.xOf(to) - left)}px`;
      const span = to - from;
      strip.figure.querySelector('output').textContent =
        `${moment(from, span)} to ${moment(to, span)}, ${format.s(span)}`;
      const zoomed = span < (this.whole[1] - this.whole[0]) * 0.9999;
      strip.figure.querySelector('.reset').hidden = !zoomed;
      for (const [handle, value] of [
        ['.from', from],
        ['.to', to],
      ]) {
        const element = range.querySelector(handle);
        element.setAttribute('aria-valuemin', String(this.whole[0]));
        element.setAttribute('aria-valuemax', String(this.whole[1]));
        element.setAttribute('aria-valuenow', String(value));
        element.setAttribute('aria-valuetext', moment(value, span));
      }
    }

    #placeMarks() {
      for (const chart of this.timeCharts) {
        const mark = chart.plot.querySelector('.mark');
        if (!mark) continue;
        const [from, to] = this.mark ?? [0, 0];
        const left = Math.max(chart.definition.left, chart.xOf(from));
        const right = Math.min(chart.definition.left + chart.width, chart.xOf(to));
        mark.hidden = this.mark === null || right < left;
        mark.style.left = `${left}px`;
        mark.style.width = `${Math.max(2, right - left)}px`;
      }
    }

    /** Pointer and keys on a chart of the time axis: drag to zoom, wheel with a modifier, arrows, plus and minus. */
    #connect(chart) {
      const { plot } = chart;
      const brush = plot.querySelector('.brush');
      let start = null;
      plot.addEventListener('pointerdown', (event) => {
        if (event.button !== 0) return;
        start = event.clientX;
        plot.setPointerCapture(event.pointerId);
      });
      plot.addEventListener('pointermove', (event) => {
        this.#readOut(chart.timeAt(event.clientX));
        if (start === null) return;
        const [left, right] = [start, event.clientX].map((x) => chart.xOf(chart.timeAt(x))).sort((a, b) => a - b);
        brush.hidden = right - left < 4;
        brush.style.left = `${left}px`;
        brush.style.width = `${right - left}px`;
      });
      plot.addEventListener('pointerup', (event) => {
        if (start === null) return;
        const [from, to] = [start, event.clientX].map((x) => chart.timeAt(x)).sort((a, b) => a - b);
        const wide = Math.abs(event.clientX - start) >= 4;
        start = null;
        brush.hidden = true;
        if (wide) this.show(from, to);
      });
      plot.addEventListener('pointercancel', () => {
        start = null;
        brush.hidden = true;
      });
      plot.addEventListener('pointerleave', () => this.#readOut(null));
      plot.addEventListener('dblclick', () => this.reset());
      plot.addEventListener(
        'wheel',
        (event) => {
          const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
          if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(event.deltaY * 0.004), chart.timeAt(event.clientX));
          else if (event.shiftKey || sideways) this.pan(((sideways ? event.deltaX : event.deltaY) / chart.width) * 0.8);
          else return;
          event.preventDefault();
        },
        { passive: false },
      );
      plot.addEventListener('keydown', (event) => this.#key(event));
    }

    #key(event) {
      const moves = {
        ArrowLeft: () => this.pan(-0.1),
        ArrowRight: () => this.pan(0.1),
        '+': () => this.zoom(0.6),
        '=': () => this.zoom(0.6),
        '-': () => this.zoom(1 / 0.6),
        0: () => this.reset(),
        Escape: () => this.reset(),
      };
      const move = event.ctrlKey || event.metaKey || event.altKey ? undefined : moves[event.key];
      if (!move) return;
      event.preventDefault();
      move();
    }

    /** The strip above the charts: drag the window, its edges, or a new one. */
    #connectStrip(chart) {
      const { plot } = chart;
      const range = plot.querySelector('.range');
      let grip = null;
      plot.addEventListener('pointerdown', (event) => {
        if (event.button !== 0) return;
        const time = chart.timeAt(event.clientX);
        const kind = event.target.classList.contains('from')
          ? 'from'
          : event.target.classList.contains('to')
            ? 'to'
            : event.target === range && this.window[1] - this.window[0] < (this.whole[1] - this.whole[0]) * 0.999
              ? 'move'
              : 'new';
        grip = { kind, time, window: [...this.window] };
        plot.setPointerCapture(event.pointerId);
      });
      plot.addEventListener('pointermove', (event) => {
        if (!grip) return;
        const time = chart.timeAt(event.clientX);
        const [from, to] = grip.window;
        if (grip.kind === 'move') this.show(from + time - grip.time, to + time - grip.time);
        else if (grip.kind === 'from') this.show(Math.min(time, to), to);
        else if (grip.kind === 'to') this.show(from, Math.max(time, from));
        else if (Math.abs(chart.xOf(time) - chart.xOf(grip.time)) > 4) {
          this.show(Math.min(time, grip.time), Math.max(time, grip.time));
        }
      });
      const release = () => {
        grip = null;
      };
      plot.addEventListener('pointerup', release);
      plot.addEventListener('pointercancel', release);
      plot.addEventListener('dblclick', () => this.reset());
      for (const [name, edge] of [
        ['.from', 0],
        ['.to', 1],
      ]) {
        range.querySelector(name).addEventListener('keydown', (event) => {
          const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
          if (direction === undefined) return this.#key(event);
          event.preventDefault();
          const step = (this.whole[1] - this.whole[0]) * 0.01 * direction;
          const next = [...this.window];
          next[edge] += step;
          if (next[0] < next[1]) this.show(...next);
        });
      }
      chart.figure.querySelector('.reset').addEventListener('click', () => this.reset());
    }

    /** A line through all charts at one moment, and the values there beside the legends. */
    #readOut(time) {
      for (const chart of this.timeCharts) {
        const line = chart.plot.querySelector('.cursor');
        if (!line) continue;
        line.hidden = time === null;
        if (time !== null) line.style.left = `${chart.xOf(time)}px`;
      }
      const timeline = this.data.timeline;
      if (!timeline) return;
      let row = -1;
      if (time !== null) {
        let low = 0;
        let high = timeline.t.length - 1;
        while (low < high) {
          const middle = (low + high + 1) >> 1;
          if (timeline.t[middle] <= time) low = middle;
          else high = middle - 1;
        }
        row = low;
      }
      for (const output of this.element.querySelectorAll('[data-reads]')) {
        const value = row < 0 ? null : timeline[output.dataset.reads]?.[row];
        output.textContent = value === null || value === undefined ? '' : format[output.dataset.unit](value);
      }
      const strip = this.element.querySelector('.strip .at');
      if (strip) strip.textContent = time === null ? '' : `at ${moment(time, this.window[1] - this.window[0])}`;
    }
  }

  const scenes = new Map(page.scenes.map((data) => [data.id, new Scene(data, document.getElementById(data.id))]));

  // ── proof links ────────────────────────────────────────────────────────────────────────────────────────────────
  document.addEventListener('click', (event) => {
    const link = event.target.closest('[data-proof]');
    if (!link) return;
    const named = link.dataset.proof.split(' ').map((id) => scenes.get(id));
    const scene = named.find((one) => one !== undefined) ?? [...scenes.values()][0];
    if (!scene) return;
    const [from, to] = [Number(link.dataset.from), Number(link.dataset.to)];
    // A link below a chart is there to look at that chart.
    if (link.dataset.stay !== undefined) {
      scene.chosen = Number(link.dataset.stretch);
      return scene.show(from, to);
    }
    scene.prove(from, to);
    const strip = scene.element.querySelector('.strip');
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    strip?.parentElement.scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' });
  });

  // ── tables ─────────────────────────────────────────────────────────────────────────────────────────────────────
  const sortKey = (cell) => {
    const key = cell.dataset.sort ?? cell.textContent;
    const number = Number(key);
    return key === '' || Number.isNaN(number) ? key : number;
  };
  for (const button of document.querySelectorAll('th button')) {
    button.addEventListener('click', () => {
      const header = button.parentElement;
      const column = header.cellIndex;
      const body = header.closest('table').tBodies[0];
      const down = header.getAttribute('aria-sort') === 'ascending';
      for (const other of header.parentElement.cells) other.removeAttribute('aria-sort');
      header.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
      rows.sort(([a], [b]) => {
        const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
        return down ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  }

  async function copy(text, button) {
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      // No clipboard for this page (an old browser, or a frame): the selection way still works.
      const area = document.createElement('textarea');
      area.value = text;
      document.body.append(area);
      area.select();
      done = document.execCommand('copy');
      area.remove();
    }
    const label = button.textContent;
    button.textContent = done ? 'Copied' : 'Not copied';
    setTimeout(() => {
      button.textContent = label;
    }, 1200);
  }
  document.addEventListener('click', (event) => {
    const button = event.target.closest('.copy-table, .copy-filter');
    if (!button) return;
    if (button.dataset.copy !== undefined) return void copy(button.dataset.copy, button);
    const table = button.closest('.table').querySelector('table');
    void copy(
      [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join('\t')).join('\n'),
      button,
    );
  });

  // ── light, dark, print ─────────────────────────────────────────────────────────────────────────────────────────
  const rebuildAll = () => {
    for (const scene of scenes.values()) scene.rebuild();
  };
  document.getElementById('theme').addEventListener('click', () => {
    root.dataset.theme = themeName() === 'dark' ? 'light' : 'dark';
    rebuildAll();
  });
  prefersDark.addEventListener('change', rebuildAll);
  // What is folded cannot be opened on paper.
  const unfolded = [];
  const forPrint = (on) => () => {
    printing = on;
    if (on) unfolded.push(...document.querySelectorAll('details.more:not([open])'));
    for (const details of on ? unfolded : unfolded.splice(0)) details.open = on;
    for (const scene of scenes.values()) {
      scene.rebuild();
      scene.refreshNow();
    }
  };
  addEventListener('beforeprint', forPrint(true));
  addEventListener('afterprint', forPrint(false));
})();
